//! A SIP server as a library: registrar, location service and stateful proxy.
