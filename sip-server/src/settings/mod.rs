//! Settings in a file: strict TOML, every fault of it told with line and column.
//!
//! ```
//! use sip_server::settings::Settings;
//!
//! let settings = Settings::parse(
//!     r#"
//!     domains = ["example.com"]
//!
//!     [[user]]
//!     name = "alice"
//!     password = "wonderland"
//!     forward.no_answer = "bob"
//!
//!     [[user]]
//!     name = "bob"
//!     password = "builder"
//!     "#,
//! )?;
//! assert_eq!(settings.file().user.len(), 2);
//!
//! let error = Settings::parse("domian = [\"example.com\"]\nauthentication = false").unwrap_err();
//! assert_eq!(
//!     error.faults[0].to_string(),
//!     "1:1: unknown key \"domian\"; did you mean \"domains\"?"
//! );
//! # Ok::<(), sip_server::settings::SettingsError>(())
//! ```

mod check;
mod events;
mod fault;
mod file;
mod names;
mod reference;
mod routes;
mod start;
mod value;

use std::path::{Path, PathBuf};

use sip_transport::proxy_protocol::Network;
use sip_transport::tokio::Listen;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use fault::{Fault, SettingsError};
pub use file::{
    BlockSettings, CheckSettings, EventListSettings, EventSettings, File, ForwardSettings, GatewaySettings,
    HepSettings, HuntGroupSettings, LimitSettings, MessageSettings, MsrpSettings, RegistrarSettings,
    RegistrationSettings, RewriteSettings, RouteSettings, RoutingSettings, TlsSettings, TrunkSettings,
    UserSettings, WatcherSettings,
};
pub use reference::reference;
pub use value::{At, Private};

use crate::Users;
use crate::events::EventConfig;
use crate::routing::Rules;
use fault::Faults;
use value::Setting;

/// Settings are kilobytes, lists of users are files of their own: more is no file of settings.
const MAX_SIZE: usize = 8 << 20;

/// Settings that are whole and fit together.
#[derive(Clone, Debug)]
pub struct Settings {
    file: File,
    folder: PathBuf,
    listen: Vec<Listen>,
    users: Option<Users>,
    rules: Rules,
    next_hop: Option<sip_message::Uri>,
    algorithms: Vec<sip_auth::Algorithm>,
    hep: Option<std::net::SocketAddr>,
    service_route: Vec<sip_message::Uri>,
    trusted: Vec<Network>,
    trusted_peers: Vec<Network>,
    operation: Operation,
    events: Option<EventConfig>,
    msrp_relay: Option<std::net::SocketAddr>,
    msrp_websockets: Option<std::net::SocketAddr>,
}

/// What a program does beside the server: `[operation]`, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Where records of calls go.
    pub call_records: Option<PathBuf>,
    /// Where health and metrics are answered by HTTP.
    pub http: Option<std::net::SocketAddr>,
    /// How long an end waits for what is under way.
    pub drain: std::time::Duration,
}

impl Settings {
    /// Reads settings from text. Nothing else is opened: users of a `users_file` are not known then, and names that may be
    /// theirs are let pass.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        Self::parse_in(text, "", Path::new(""), false)
    }

    /// What the program is to do beside the server. It is left to the program.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Reads a file of settings, its users' file, and its certificates.
    ///
    /// # Errors
    /// All that is wrong; or that a file cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, SettingsError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let mut faults = Faults::default();
            faults.add(0, format!("cannot be read: {error}"));
            faults.place(&name, "")
        })?;
        Self::parse_in(&text, &name, path.parent().unwrap_or(Path::new("")), true)
    }

    fn parse_in(text: &str, name: &str, folder: &Path, open: bool) -> Result<Self, SettingsError> {
        let mut faults = Faults::default();
        if text.len() > MAX_SIZE {
            faults.add(0, format!("the file is longer than {MAX_SIZE} octets; keep users in a users_file"));
            return Err(faults.place(name, text));
        }
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            faults.add(error.span().map_or(0, |span| span.start), one_line(error.message()));
        }
        if !faults.is_empty() {
            // What was recovered would give faults that are none.
            return Err(faults.place(name, text));
        }
        let span = table.span();
        let root = Spanned::new(span, DeValue::Table(table.into_inner()));
        let file = File::read(&root, &mut faults).unwrap_or_default();
        let settings = check::check(file, folder, open, &mut faults);
        if faults.is_empty() { Ok(settings) } else { Err(faults.place(name, text)) }
    }

    /// What the file says.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The routing rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who may register and call; `None`: nobody is asked.
    #[must_use]
    pub fn users(&self) -> Option<&Users> {
        self.users.as_ref()
    }

    /// A file named in the settings, relative to where they stand.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// What parsers say, on one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
