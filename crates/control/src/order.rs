//! In which order services start, and, reversed, stop.
//!
//! `depends_on` is hard: a service waits until those have started. `calls` is only a preference,
//! because a callee that is late is waited for by the data plane and a cycle of calls is legal:
//! waiting for callees is what makes one crash restart half an application elsewhere.

use std::collections::BTreeMap;

use archipel_model::{App, ServiceName};

/// For each service its level by `depends_on`; level 0 waits for nobody.
///
/// The manifest has been checked for cycles; should one be there all the same, its members count
/// as independent of each other.
pub(crate) fn levels(app: &App) -> BTreeMap<ServiceName, u32> {
    depth(app, |name| app.services[name].depends_on.iter().collect())
}

/// Callees before callers, as far as cycles allow.
pub(crate) fn call_depths(app: &App) -> BTreeMap<ServiceName, u32> {
    depth(app, |name| app.services[name].calls.keys().collect())
}

fn depth<'a>(
    app: &'a App,
    needs: impl Fn(&'a ServiceName) -> Vec<&'a ServiceName>,
) -> BTreeMap<ServiceName, u32> {
    let mut done: BTreeMap<ServiceName, u32> = BTreeMap::new();
    // Each pass settles at least one level; what a cycle leaves over is settled as level 0.
    let mut open: Vec<&ServiceName> = app.services.keys().collect();
    while !open.is_empty() {
        let mut settled = Vec::new();
        for name in &open {
            let needed: Option<Vec<u32>> = needs(name)
                .into_iter()
                .filter(|need| app.services.contains_key(*need) && need != name)
                .map(|need| done.get(need).copied())
                .collect();
            if let Some(levels) = needed {
                settled.push((*name, levels.iter().max().map_or(0, |level| level + 1)));
            }
        }
        if settled.is_empty() {
            settled = open.iter().map(|name| (*name, 0)).collect();
        }
        for (name, level) in settled {
            done.insert(name.clone(), level);
        }
        open.retain(|name| !done.contains_key(*name));
    }
    done
}
