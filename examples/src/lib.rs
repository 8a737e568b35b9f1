//! Short programs that teach the crates, from one message to a whole phone.
