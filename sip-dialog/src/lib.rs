//! SIP dialogs: sessions set up by INVITE, their requests and their end, as a pure core.
