//! The words of the shop: written by hand, in English and French side by side, so that a
//! translator sees both and a missing one does not compile.

pub(crate) mod colours;
pub(crate) mod kinds;
pub(crate) mod materials;
pub(crate) mod places;
pub(crate) mod sentences;
pub(crate) mod shelves;

/// The same text in both languages of the shop, as constants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Both {
    pub(crate) en: &'static str,
    pub(crate) fr: &'static str,
}

pub(crate) const fn b(en: &'static str, fr: &'static str) -> Both {
    Both { en, fr }
}
