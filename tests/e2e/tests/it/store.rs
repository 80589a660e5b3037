//! The online store.
