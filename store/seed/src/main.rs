//! Prints a generated store: `seed --profile demo --seed 7` writes one JSON object a line,
//! `--art DIR` writes the pictures and `index.html`, a contact sheet to look at.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use store_seed::{Profile, Text, categories, products};

const USAGE: &str = "usage: seed [--profile small|demo|big] [--seed NUMBER] [--art DIRECTORY]";

fn main() -> ExitCode {
    let (mut profile, mut seed, mut art_to) = (Profile::Demo, 7u64, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next();
        let ok = match (arg.as_str(), value) {
            ("--profile", Some(v)) => Profile::parse(&v).map(|p| profile = p).is_some(),
            ("--seed", Some(v)) => v.parse().map(|s| seed = s).is_ok(),
            ("--art", Some(v)) => {
                art_to = Some(v);
                true
            }
            _ => false,
        };
        if !ok {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    let done = match art_to {
        Some(directory) => contact_sheet(profile, seed, Path::new(&directory)),
        None => dump(profile, seed),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe may leave early; that is not our failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seed: could not write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn text(t: &Text) -> serde_json::Value {
    json!({"en": t.en, "fr": t.fr})
}

fn dump(profile: Profile, seed: u64) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for category in categories() {
        let row = json!({"category": category.path, "parent": category.parent, "name": text(&category.name)});
        writeln!(out, "{row}")?;
    }
    for product in products(profile, seed) {
        let variants: Vec<_> = product
            .variants
            .iter()
            .map(|v| {
                json!({"sku": v.sku, "colour": v.colour.as_ref().map(text), "size": v.size.as_ref().map(text),
                       "price_minor": v.price_minor, "weight_g": v.weight_g, "stock": v.stock, "image": v.art.name()})
            })
            .collect();
        let row = json!({"id": product.id, "slug": product.slug, "title": text(&product.title), "subtitle": text(&product.subtitle),
                         "description": text(&product.description), "category": product.category, "variants": variants});
        writeln!(out, "{row}")?;
    }
    out.flush()
}

fn contact_sheet(profile: Profile, seed: u64, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut page = String::from(
        "<!doctype html><meta charset=utf-8><title>contact sheet</title><style>body{font:12px sans-serif;margin:16px;display:grid;\
         grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:12px;background:#fff}img{width:100%;border-radius:8px}figure{margin:0}</style>",
    );
    for product in products(profile, seed) {
        for (i, variant) in product.variants.iter().enumerate() {
            let seen = product.variants[..i].iter().any(|v| v.art == variant.art);
            if seen {
                continue;
            }
            let name = variant.art.name();
            std::fs::write(directory.join(format!("{name}.svg")), variant.art.svg())?;
            page.push_str(&format!(
                "<figure><img src=\"{name}.svg\"><figcaption>{}</figcaption></figure>",
                product.title.en
            ));
        }
    }
    std::fs::write(directory.join("index.html"), page)
}
