//! What the services that link the generator rely on.

use std::collections::HashSet;

use store_seed::{Product, Profile, art, categories, generate, product, products};

const SEEDS: [u64; 3] = [1, 7, 20_260_801];

fn all(profile: Profile) -> impl Iterator<Item = (u64, Product)> {
    SEEDS.into_iter().flat_map(move |seed| products(profile, seed).map(move |p| (seed, p)))
}

#[test]
fn the_same_seed_gives_the_same_store_and_another_seed_another() {
    let first = format!("{:?}", generate(Profile::Demo, 7));
    assert_eq!(first, format!("{:?}", generate(Profile::Demo, 7)));
    assert_ne!(first, format!("{:?}", generate(Profile::Demo, 8)));
}

#[test]
fn a_small_store_is_part_of_a_larger_one() {
    let demo: Vec<Product> = products(Profile::Demo, 7).collect();
    for small in products(Profile::Small, 7) {
        assert!(demo.contains(&small), "{} changed with the profile", small.slug);
    }
    assert_eq!(demo[77], product(7, 77), "a product is the same alone and in a list");
}

#[test]
fn nothing_occurs_twice_even_in_a_big_store() {
    let (mut slugs, mut ids, mut skus, mut titles) =
        (HashSet::new(), HashSet::new(), HashSet::new(), HashSet::new());
    for p in products(Profile::Big, 7) {
        assert!(slugs.insert(p.slug.clone()), "slug {} twice", p.slug);
        assert!(
            titles.insert(p.title.en.clone()) && titles.insert(format!("fr {}", p.title.fr)),
            "title {} twice",
            p.title.en
        );
        assert!(ids.insert(p.id.clone()), "id {} twice", p.id);
        for v in p.variants {
            assert!(
                v.sku.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-'),
                "sku {}",
                v.sku
            );
            assert!(skus.insert(v.sku), "a sku of {} twice", p.slug);
        }
    }
    assert_eq!(slugs.len(), 100_000);
}

#[test]
fn demo_has_the_size_people_expect() {
    for seed in SEEDS {
        let store = generate(Profile::Demo, seed);
        let variants: usize = store.products.iter().map(|p| p.variants.len()).sum();
        assert_eq!((store.products.len(), store.categories.len()), (120, 30));
        assert!((360..=460).contains(&variants), "{variants} variants with seed {seed}");
    }
}

#[test]
fn every_category_and_department_has_goods() {
    let used: HashSet<&str> = products(Profile::Demo, 7).map(|p| p.category).collect();
    for category in categories().iter().filter(|c| c.parent.is_some()) {
        assert!(used.contains(category.path.as_str()), "{} is empty", category.path);
    }
    let departments: HashSet<&str> =
        products(Profile::Small, 7).filter_map(|p| p.category.split('/').next()).collect();
    assert_eq!(departments.len(), 6, "even the small store shows every department");
}

#[test]
fn prices_weights_and_stock_are_those_of_a_shop() {
    for (seed, p) in all(Profile::Demo) {
        assert!(!p.variants.is_empty());
        for v in &p.variants {
            assert!(
                (500..40_000).contains(&v.price_minor),
                "{}: {} (seed {seed})",
                v.sku,
                v.price_minor
            );
            assert!(matches!(v.price_minor % 100, 90 | 50), "{}: {}", v.sku, v.price_minor);
            assert!((50..12_000).contains(&v.weight_g), "{}: {} g", v.sku, v.weight_g);
            assert!(v.stock <= 900);
        }
    }
    for profile in [Profile::Small, Profile::Demo] {
        for seed in SEEDS {
            let stock: Vec<u32> =
                products(profile, seed).flat_map(|p| p.variants).map(|v| v.stock).collect();
            for level in [0, 1] {
                assert!(
                    stock.contains(&level),
                    "no variant with {level} left in {} seed {seed}",
                    profile.name()
                );
            }
            assert!(stock.iter().any(|s| *s >= 60), "nothing in plenty");
        }
    }
}

#[test]
fn texts_have_a_readable_length_and_promise_nothing() {
    const FORBIDDEN: [&str; 14] = [
        "guarante",
        "garanti",
        "best ",
        "meilleur",
        "organic",
        "bio ",
        "waterproof",
        "imperméable",
        "medical",
        "médical",
        "unbreakable",
        "incassable",
        "100 %",
        "lifetime",
    ];
    for (_, p) in all(Profile::Demo) {
        for (text, least, most) in [
            (&p.title.en, 6, 60),
            (&p.title.fr, 6, 60),
            (&p.subtitle.en, 15, 90),
            (&p.subtitle.fr, 15, 90),
            (&p.description.en, 160, 520),
            (&p.description.fr, 160, 560),
        ] {
            let length = text.chars().count();
            assert!((least..=most).contains(&length), "{length} characters: {text}");
            assert!(!text.contains(['{', '}']), "a pattern was not filled: {text}");
            assert!(!text.contains("  ") && text.trim() == text, "spacing: {text:?}");
            let lower = text.to_lowercase();
            assert!(
                FORBIDDEN.iter().all(|word| !lower.contains(word)),
                "a claim we cannot keep: {text}"
            );
        }
        assert!(
            !p.description.fr.contains("ce a") && !p.description.fr.contains("ce é"),
            "elision: {}",
            p.description.fr
        );
    }
}

#[test]
fn a_demo_store_is_generated_faster_than_a_blink() {
    let started = std::time::Instant::now();
    let store = generate(Profile::Demo, 7);
    let took = started.elapsed();
    assert_eq!(store.products.len(), 120);
    // 20 ms is the promise for an optimised build; a debug build on a busy machine gets slack.
    assert!(took.as_millis() < 500, "took {took:?}");
    assert!(!art(&store.products[0], 0).is_empty());
}
