//! Names of time zones.
//!
//! A list rather than a look into the system's database: a file must get the same verdict on
//! every machine, also on one without such a database. The list is that of the IANA time zone
//! database; zones are added rarely, and old names stay in it as links.

const NAMES: &str = include_str!("timezones.txt");

pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    NAMES.lines()
}

pub(crate) fn is_known(name: &str) -> bool {
    all().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_their_exact_name() {
        for zone in ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires"] {
            assert!(is_known(zone), "{zone}");
        }
        for zone in ["", "europe/paris", "Europe/Pariss", "Mars/Olympus"] {
            assert!(!is_known(zone), "{zone}");
        }
    }
}
