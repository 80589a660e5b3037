//! From an index to a product.

use crate::art::ArtSpec;
use crate::rng::Rng;
use crate::words::colours::COLOURS;
use crate::words::kinds::{KINDS, Kind, Size};
use crate::words::materials::Material;
use crate::words::places::PLACES;
use crate::words::sentences::PATTERNS;
use crate::words::shelves::DEPARTMENTS;
use crate::words::{Both, b};
use crate::{Category, Product, Profile, Text, Variant};

const CATEGORIES: u32 = 24;

/// What a stream of random numbers is for.
const LAYOUT: u64 = 1;
const PRODUCT: u64 = 2;
const IDENTITY: u64 = 3;

/// Departments and their categories, in the order of the shop.
pub fn categories() -> Vec<Category> {
    let mut all = Vec::with_capacity(30);
    for department in &DEPARTMENTS {
        all.push(Category {
            path: department.path.into(),
            parent: None,
            name: text(department.name),
            line: text(department.line),
        });
        all.extend(department.categories.iter().map(|shelf| Category {
            path: shelf.path.into(),
            parent: Some(department.path.into()),
            name: text(shelf.name),
            line: text(b("", "")),
        }));
    }
    all
}

/// The products of a store one after the other.
pub fn products(profile: Profile, seed: u64) -> impl Iterator<Item = Product> {
    (0..profile.products()).map(move |i| product(seed, i * profile.step()))
}

/// The product at `index` of the endless list that `seed` gives.
pub fn product(seed: u64, index: u32) -> Product {
    let shelf = index % CATEGORIES;
    let department = (shelf / 4) as usize;
    let category = DEPARTMENTS[department].categories[(shelf % 4) as usize].path;
    let (kind_index, nth) = kind_of(seed, category, index / CATEGORIES);
    let kind = &KINDS[kind_index];
    let (place, round) = place_of(seed, kind_index, nth);
    let place = &PLACES[place];

    let mut rng = Rng::of(seed, PRODUCT, index.into());
    let material = *rng.pick(kind.materials);
    let mark = |sep: &str| if round == 0 { String::new() } else { format!("{sep}{}", round + 1) };
    let slug = format!("{}-{}{}", place.name.to_lowercase(), kind.slug, mark("-"));
    let note = rng.below(2);
    let pattern = &PATTERNS[department];
    let (opening, closing) = (*rng.pick(&pattern.openings), *rng.pick(&pattern.closings));
    let variants = variants(&mut rng, index, kind_index, material);
    let mut id = Rng::of(seed, IDENTITY, index.into());

    Product {
        index,
        id: format!("prd_{:016x}{:016x}", id.next(), id.next()),
        title: Text {
            en: format!("{} {}{}", place.name, kind.name.en, mark(" no. ")),
            fr: format!("{} {}{}", capital(kind.name.fr), place.name, mark(" nº ")),
        },
        slug,
        subtitle: Text {
            en: format!("{}, {}", capital(material.name.en), kind.notes[note].en),
            fr: format!("{}, {}", capital(material.name.fr), kind.notes[note].fr),
        },
        description: Text {
            en: describe(
                [opening.en, kind.line.en, material.care.en, place.line.en, closing.en],
                &format!("this {}", kind.name.en),
                material.name.en,
            ),
            fr: describe(
                [opening.fr, kind.line.fr, material.care.fr, place.line.fr, closing.fr],
                &kind.this_fr(),
                material.name.fr,
            ),
        },
        category,
        attributes: vec![
            (text(b("Material", "Matière")), capitals(material.name)),
            (
                text(b("Collection", "Collection")),
                Text { en: place.name.into(), fr: place.name.into() },
            ),
            (text(b("Worth knowing", "À savoir")), capitals(kind.notes[1 - note])),
        ],
        variants,
    }
}

/// The `nth` product of a category: which kind of thing, and how many of that kind came before.
fn kind_of(seed: u64, category: &str, nth: u32) -> (usize, u32) {
    let first = KINDS.iter().position(|k| k.category == category).unwrap_or(0);
    let count = KINDS.iter().filter(|k| k.category == category).count().max(1);
    let turn = Rng::of(seed, LAYOUT, first as u64).below(count);
    (first + (nth as usize + turn) % count, nth / count as u32)
}

/// The island a kind's `nth` product is named after, and how often all islands were used before.
///
/// Steps of 7, 11, … visit all 24 islands before repeating one (they share no factor with 24), so
/// titles are unique without looking at any other product.
fn place_of(seed: u64, kind: usize, nth: u32) -> (usize, u32) {
    let mut rng = Rng::of(seed, LAYOUT, 1000 + kind as u64);
    let (start, step) = (rng.below(PLACES.len()), *rng.pick(&[5usize, 7, 11, 13, 17, 19]));
    let islands = PLACES.len();
    ((start + nth as usize % islands * step) % islands, nth / islands as u32)
}

fn variants(rng: &mut Rng, index: u32, kind_index: usize, material: &Material) -> Vec<Variant> {
    let kind = &KINDS[kind_index];
    let price = price(rng, kind);
    let colours: Vec<usize> = if kind.colours.is_empty() {
        vec![material.natural]
    } else {
        let most = match kind.sizes.len() {
            0 => 3 + rng.below(3),
            1..=3 => 2 + rng.below(2),
            _ => 2,
        };
        rng.sample(kind.colours.len(), most).into_iter().map(|i| kind.colours[i]).collect()
    };
    let look = ArtSpec::choose(rng, kind_index);
    let sizes: Vec<Option<&Size>> =
        if kind.sizes.is_empty() { vec![None] } else { kind.sizes.iter().map(Some).collect() };
    let mut all = Vec::with_capacity(colours.len() * sizes.len());
    for colour in &colours {
        let dyed = (!kind.colours.is_empty()).then(|| &COLOURS[*colour]);
        for size in &sizes {
            let mut sku = format!("{}-{}", kind.code, base36(index));
            for part in dyed.map(|c| c.code).into_iter().chain(size.map(|s| s.code)) {
                sku.push('-');
                sku.push_str(part);
            }
            all.push(Variant {
                sku,
                colour: dyed.map(|c| capitals(c.name)),
                size: size.map(|s| capitals(s.name)),
                price_minor: round_price(price * size.map_or(100, |s| s.price_pct) / 100),
                weight_g: kind.weight_g * size.map_or(100, |s| s.weight_pct) / 100,
                stock: stock(rng),
                art: look.in_colour(*colour),
            });
        }
    }
    arrange_stock(index, &mut all);
    all
}

/// Log-normal around the kind's price; the exponential is cut after the square so that every
/// machine computes the same cents.
fn price(rng: &mut Rng, kind: &Kind) -> i64 {
    let x = 0.16 * rng.normalish();
    (kind.price_minor as f64 * (1.0 + x + x * x / 2.0)) as i64
}

/// To the next x.90, or above thirty euros sometimes x.50: shop prices.
fn round_price(minor: i64) -> i64 {
    let euros = (minor + 50) / 100;
    if minor > 3000 && euros % 3 == 0 { euros * 100 - 50 } else { (euros * 100 - 10).max(90) }
}

/// Zipf with exponent 1: a few skus have hundreds, about one in fifteen has none.
fn stock(rng: &mut Rng) -> u32 {
    (14.0 / rng.unit() - 14.0).min(900.0) as u32
}

/// Makes sure that every dozen of products has the cases a shop must show well: plenty, the last
/// one, one size gone, and now and then a product that is sold out.
fn arrange_stock(index: u32, variants: &mut [Variant]) {
    match index % 24 {
        0 | 12 => variants[0].stock = variants[0].stock.max(60),
        4 | 16 => {
            if let Some(last) = variants.last_mut() {
                last.stock = 0;
            }
        }
        10 | 22 => {
            for (i, variant) in variants.iter_mut().enumerate() {
                variant.stock = u32::from(i == 0);
            }
        }
        _ => {}
    }
    if index % 40 == 18 {
        variants.iter_mut().for_each(|v| v.stock = 0);
    }
}

fn describe(parts: [&str; 5], this: &str, material: &str) -> String {
    let whole = parts.join(" ");
    whole.replace("{this}", this).replace("{This}", &capital(this)).replace("{material}", material)
}

fn text(words: Both) -> Text {
    Text { en: words.en.into(), fr: words.fr.into() }
}

fn capitals(words: Both) -> Text {
    Text { en: capital(words.en), fr: capital(words.fr) }
}

pub(crate) fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Four digits are enough for 1.6 million products.
fn base36(mut n: u32) -> String {
    let mut digits = [b'0'; 4];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(n % 36) as usize];
        n /= 36;
    }
    digits.iter().map(|d| char::from(*d)).collect()
}
