//! Calls between this stack and programs that we did not write.
