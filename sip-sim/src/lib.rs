//! A network and a clock made of memory: runs SIP cores in virtual time with seeded loss, duplication and reordering.
