//! The goods of the store: a deterministic generator of products, prices, stock and pictures.
//!
//! `catalog` and `inventory` both link this library and read the same profile and seed from their
//! environment, so they agree on every sku without either seeing the other's database. For that
//! the result depends on nothing but `(Profile, seed)`: no clock, no locale, no hash map order,
//! no maths function whose last bit may differ between machines.
//!
//! Every product is computed from its own index alone, so `big` can be streamed ([`products`])
//! and `small` ⊂ `demo` ⊂ `big`: a product keeps its slug, skus and prices when a store grows.
//!
//! Pictures are not files. A picture's name says all that is needed to draw it, so [`art_named`]
//! draws any of them on request and a store of 100 000 products keeps no image.

mod art;
mod make;
mod rng;
mod words;

pub use art::{ArtSpec, art_named};
pub use make::{categories, product, products};

/// How large a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// 12 products, two from each department: for tests.
    Small,
    /// 120 products, about 400 variants: the shop that people see.
    Demo,
    /// 100 000 products: for search and load.
    Big,
}

impl Profile {
    /// Reads `small`, `demo` or `big`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "small" => Some(Self::Small),
            "demo" => Some(Self::Demo),
            "big" => Some(Self::Big),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Demo => "demo",
            Self::Big => "big",
        }
    }

    /// How many products it has.
    pub fn products(self) -> u32 {
        match self {
            Self::Small => 12,
            Self::Demo => 120,
            Self::Big => 100_000,
        }
    }

    /// Its `n`th product is product number `n * step` of the endless list: `small` takes every
    /// second of the first round, so that it has all departments.
    pub fn step(self) -> u32 {
        if self == Self::Small { 2 } else { 1 }
    }
}

/// One text in the two languages of the shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub en: String,
    pub fr: String,
}

/// A department (no parent) or a category within one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// `lamps` or `lamps/lanterns`.
    pub path: String,
    pub parent: Option<String>,
    pub name: Text,
    /// One line about a department; empty for a category.
    pub line: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Position in the generator's infinite list; newer products have higher numbers.
    pub index: u32,
    /// `prd_` and 32 hex digits.
    pub id: String,
    pub slug: String,
    pub title: Text,
    pub subtitle: Text,
    pub description: Text,
    /// Path of its category.
    pub category: &'static str,
    /// Label and value: material, collection, …
    pub attributes: Vec<(Text, Text)>,
    /// At least one; the first is the one to show.
    pub variants: Vec<Variant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Upper-case letters, digits and hyphens; unique in the store.
    pub sku: String,
    pub colour: Option<Text>,
    pub size: Option<Text>,
    /// Price in euro cents.
    pub price_minor: i64,
    pub weight_g: u32,
    /// Units on the shelf on the first day; 0 and 1 always occur.
    pub stock: u32,
    pub art: ArtSpec,
}

/// A whole store in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    pub categories: Vec<Category>,
    pub products: Vec<Product>,
}

/// Generates a store. For [`Profile::Big`] prefer [`products`], which does not hold them all.
pub fn generate(profile: Profile, seed: u64) -> Seed {
    Seed { categories: categories(), products: products(profile, seed).collect() }
}

/// Draws the picture of one variant as an SVG document. An index beyond the last variant draws
/// the first.
pub fn art(product: &Product, variant: usize) -> String {
    let variant = product.variants.get(variant).or(product.variants.first());
    variant.map(|v| v.art.svg()).unwrap_or_default()
}
