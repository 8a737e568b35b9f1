//! What most calls of a phone have alike, kept once.

use std::sync::Arc;

/// The value that was seen last: whoever brings an equal one shares it. One and no table of them: a phone has one name and one
/// address, and a server with a thousand of each keeps them with its calls as before.
#[derive(Debug)]
pub(crate) struct Alike<T>(Option<Arc<T>>);

impl<T> Default for Alike<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> Alike<T> {
    /// Puts the value that others have in the place of an equal one.
    pub(crate) fn share(&mut self, value: &mut Arc<T>) {
        match &self.0 {
            Some(known) if **known == **value => *value = Arc::clone(known),
            _ => self.0 = Some(Arc::clone(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one() {
        let (mut alike, mut first, mut second) = (Alike::default(), Arc::new(1), Arc::new(1));
        alike.share(&mut first);
        alike.share(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
        let mut other = Arc::new(2);
        alike.share(&mut other);
        assert_eq!((*first, *second, *other), (1, 1, 2));
    }
}
