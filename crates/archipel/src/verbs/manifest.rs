//! Verbs about the manifest alone: `validate`, `explain`, `schema`, `init`.

use serde_json::json;

use super::print_json;
use crate::cli::{Global, Init, Schema};
use crate::exit::{self, Failure};
use crate::find::{Place, show_problems};
use crate::show::count;
use crate::show::style::Style;
use crate::show::table::Table;

pub(crate) fn validate(global: &Global) -> Result<u8, Failure> {
    let place = Place::find(global)?;
    // Without a profile asked for, every one is checked: a broken overlay should not wait for the
    // day on which it is needed.
    let loaded = match &global.profile {
        Some(_) => place.load(global)?,
        None => match archipel_manifest::load_every_profile(
            &place.manifest,
            Some(archipel_alert::check_question),
        ) {
            Ok(loaded) => loaded,
            Err(problems) => {
                show_problems(&problems.0, global);
                return Err(Failure::silent(exit::MANIFEST));
            }
        },
    };
    if global.json {
        print_json(&archipel_manifest::to_json(&loaded.warnings))?;
        return Ok(0);
    }
    show_problems(&loaded.warnings, global);
    let app = &loaded.app;
    outln!(
        "{} is valid: {}, {}, {}{}",
        place.manifest.display(),
        count(app.services.len(), "service"),
        count(app.services.values().map(|service| service.publishes.len()).sum(), "topic"),
        count(app.gateway.as_ref().map_or(0, |gateway| gateway.routes.len()), "route"),
        match loaded.warnings.len() {
            0 => String::new(),
            n => format!(", {}", count(n, "warning")),
        }
    );
    Ok(0)
}

pub(crate) fn explain(global: &Global, code: Option<&str>) -> Result<u8, Failure> {
    let Some(code) = code else {
        let codes = archipel_manifest::Code::ALL;
        if global.json {
            let codes: Vec<_> = codes
                .iter()
                .map(|code| json!({ "code": code.as_str(), "title": code.title() }))
                .collect();
            print_json(&json!({ "schema": "archipel.codes/1", "codes": codes }))?;
        } else {
            let mut table = Table::new(&["CODE", "MEANS"]);
            for code in codes {
                table.row(vec![code.as_str().into(), code.title().into()]);
            }
            table.print();
        }
        return Ok(0);
    };
    let code = code.to_ascii_uppercase();
    let page = archipel_manifest::explain(&code).ok_or_else(|| {
        Failure::new(exit::USAGE, format!("there is no code `{code}`"))
            .help("`archipel explain` lists them all")
    })?;
    if global.json {
        print_json(&json!({ "schema": "archipel.explain/1", "code": code, "page": page }))?;
    } else {
        crate::show::out::text(format_args!("{page}"));
    }
    Ok(0)
}

pub(crate) fn schema(global: &Global, schema: &Schema) -> Result<u8, Failure> {
    let document = match schema.draft2020 {
        true => archipel_manifest::schema_2020(),
        false => archipel_manifest::schema(),
    };
    if !schema.write {
        print_json(&document)?;
        return Ok(0);
    }
    let place = Place::find(global)?;
    place.state.create()?;
    let path = place.state.root().join("schema.json");
    std::fs::write(&path, serde_json::to_string_pretty(&document)? + "\n")?;
    eprintln!("wrote {}; the first line of the manifest may now be:", path.display());
    outln!("#:schema ./.archipel/schema.json");
    Ok(0)
}

pub(crate) fn init(global: &Global, init: &Init) -> Result<u8, Failure> {
    let dir = match &global.dir {
        Some(dir) => dir.clone(),
        None => std::env::current_dir()?,
    };
    let manifest = dir.join(archipel_manifest::FILE_NAME);
    if manifest.exists() {
        return Err(Failure::new(exit::USAGE, format!("there is {} already", manifest.display()))
            .help("check it with `archipel validate`"));
    }
    let tools = archipel_manifest::init::Tools::on_path(std::env::var_os("PATH").as_deref());
    let detected = archipel_manifest::init::detect(&dir);
    let scaffold = archipel_manifest::init::scaffold(&dir, &detected, tools)?;
    if global.json {
        let files: Vec<_> = scaffold
            .files
            .iter()
            .map(|file| json!({ "path": file.path, "text": file.text }))
            .collect();
        print_json(&json!({ "schema": "archipel.init/1", "files": files }))?;
    }
    if !init.dry_run {
        scaffold.write(&dir)?;
    }
    if global.json {
        return Ok(0);
    }
    let style = Style::stdout(global.no_color);
    for file in &scaffold.files {
        // The plan shows text; what is there already stays as it is.
        outln!("{} {}", if init.dry_run { "would write" } else { "wrote" }, file.path.display());
        if init.dry_run {
            outln!("{}", style.dim(&file.text));
        }
    }
    for note in &scaffold.notes {
        outln!("{}", style.dim(note));
    }
    if !init.dry_run {
        outln!("start it: archipel up");
    }
    Ok(0)
}
