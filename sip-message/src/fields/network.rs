//! The P- fields of operators' networks that are words and parameters (RFC 3313, 4964, 5009, 5503, 7315).

use super::shapes::{hexadecimal, host_port, split_head, word, word_fields, word_param_fields};
use crate::headers::Header;
use crate::params::Params;
use crate::parts::Parts;
use crate::syntax::{token, unquote};
use crate::{HeaderName, Uri, ValueError};
use alloc::borrow::Cow;
use alloc::string::String;

word_fields! {
    PMediaAuthorization P_MEDIA_AUTHORIZATION hexadecimal "hexadecimal digits" "One token of `P-Media-Authorization` (RFC 3313 §5.1).";
    PEarlyMedia P_EARLY_MEDIA token "an early-media parameter" "One parameter of `P-Early-Media`: `sendrecv`, `inactive`, `gated`, `supported`, ... (RFC 5009 §9).";
    PDcsOsps P_DCS_OSPS token "BLV, EI, RING or a token" "`P-DCS-OSPS`: an operator's service (RFC 5503 §6.1).";
}

word_param_fields! {
    PAccessNetworkInfo P_ACCESS_NETWORK_INFO token "an access type" "One `P-Access-Network-Info`: through which network a user agent came (RFC 7315 §5.4).";
    PVisitedNetworkId P_VISITED_NETWORK_ID word "a token or a quoted string" "One `P-Visited-Network-ID` (RFC 7315 §5.3).";
    PAnswerState P_ANSWER_STATE token "Confirmed or Unconfirmed" "`P-Answer-State`: whether the far end has really answered (RFC 4964 §7.1).";
    PDcsBillingInfo P_DCS_BILLING_INFO billing "correlation/element@host" "`P-DCS-Billing-Info` (RFC 5503 §7.1).";
    PDcsLaes P_DCS_LAES host_port "a host and port" "`P-DCS-LAES`: where intercepted signalling goes (RFC 5503 §8.1).";
    PDcsRedirect P_DCS_REDIRECT quoted_uri "a quoted URI" "`P-DCS-Redirect`: who redirected an intercepted call (RFC 5503 §8.1).";
}

/// `1*48(HEXDIG) "/" 1*16(HEXDIG) "@" host`.
fn billing(text: &str) -> bool {
    let Some((correlation, element)) = text.split_once('/') else { return false };
    let Some((feid, host)) = element.split_once('@') else { return false };
    hexadecimal(correlation)
        && correlation.len() <= 48
        && hexadecimal(feid)
        && feid.len() <= 16
        && crate::uri::host_length(host, 0) == Ok(host.len())
}

fn quoted_uri(text: &str) -> bool {
    text.starts_with('"') && unquote(text).is_some_and(|uri| uri.parse::<Uri>().is_ok())
}

macro_rules! parameter_fields {
    ($($kind:ident $name:ident ($first:literal) $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $kind {
            /// The parameters, in order.
            pub params: Params,
        }

        impl $kind {
            /// A parameter's value, quotes undone.
            pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
                self.params.unquoted(name)
            }

            /// With a parameter.
            #[must_use]
            pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
                self.params.set(name, value);
                self
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                // What Params reads begins with ';'.
                let mut list = String::with_capacity(text.len().saturating_add(1));
                list.push(';');
                list.push_str(text);
                let params = Params::parse(&list, 0)
                    .map_err(|error| ValueError::new(error.expected, error.at.saturating_sub(1)))?;
                let first = params.iter().next();
                if first.is_none() || ($first != "" && !params.iter().any(|(name, _)| name.eq_ignore_ascii_case($first))) {
                    return Err(ValueError::new(concat!("parameters", " ", $first), 0));
                }
                Ok(Self { params })
            }

            fn write(&self, out: &mut String) {
                out.push_str(self.params.as_str().trim_start_matches(';'));
            }

            fn parts(&self) -> Parts {
                Parts::from([("params", (&self.params).into())])
            }
        }
    )*};
}

parameter_fields! {
    PChargingVector P_CHARGING_VECTOR ("icid-value") "`P-Charging-Vector`: what correlates charging records: `icid-value`, `orig-ioi`, ... (RFC 7315 §5.6).";
    PChargingFunctionAddresses P_CHARGING_FUNCTION_ADDRESSES ("") "One set of `P-Charging-Function-Addresses`: `ccf`, `ecf`, ... (RFC 7315 §5.5).";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of RFC 7315 §4 and RFC 5503 §7.2.
    #[test]
    fn values_of_operators() {
        let access = PAccessNetworkInfo::parse("3GPP-UTRAN-TDD; utran-cell-id-3gpp=234151D0FCE11").unwrap();
        assert_eq!(access.param("utran-cell-id-3gpp"), Some(Some("234151D0FCE11")));
        assert_eq!(
            PVisitedNetworkId::parse("\"Visited network number 1\"").unwrap().value,
            "\"Visited network number 1\""
        );
        let vector = PChargingVector::parse(
            "icid-value=\"AyretyU0dm+6O2IrT5tAFrbHLso=023551024\"; orig-ioi=home1.net",
        )
        .unwrap();
        assert_eq!(vector.value("icid-value").unwrap(), "AyretyU0dm+6O2IrT5tAFrbHLso=023551024");
        let mut out = String::new();
        vector.write(&mut out);
        assert_eq!(PChargingVector::parse(&out).unwrap(), vector);
        let addresses = PChargingFunctionAddresses::parse("ccf=192.1.1.1; ccf-2=192.1.1.2").unwrap();
        assert_eq!(addresses.value("ccf-2").unwrap(), "192.1.1.2");
        let billing =
            PDcsBillingInfo::parse("01123FA4/4567@h.example.com;rksgroup=g;charge=\"tel:+1\"").unwrap();
        assert_eq!(billing.value, "01123FA4/4567@h.example.com");
        assert!(PDcsRedirect::parse("\"sip:a@b\";count=1").is_ok());
        for bad in ["", "x", "zz/1@h", "1/2", "1/2@"] {
            assert!(PDcsBillingInfo::parse(bad).is_err(), "{bad} passed");
        }
        assert!(PChargingVector::parse("orig-ioi=home1.net").is_err() && PChargingVector::parse("").is_err());
        assert!(PMediaAuthorization::parse("0020").is_ok() && PMediaAuthorization::parse("xyz").is_err());
        assert!(PDcsLaes::parse("h:5060;content=h").is_ok() && PDcsRedirect::parse("sip:a@b").is_err());
    }
}
