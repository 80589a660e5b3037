//! English and French: texts side by side where they are used, and how numbers and times read.

use serde::{Deserialize, Serialize};
use store_kit::{Money, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lang {
    En,
    Fr,
}

impl Lang {
    pub(crate) const ALL: [Self; 2] = [Self::En, Self::Fr];

    pub(crate) fn parse(tag: &str) -> Option<Self> {
        match tag {
            "en" => Some(Self::En),
            "fr" => Some(Self::Fr),
            _ => None,
        }
    }

    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
        }
    }

    /// The name of the language in itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Fr => "Français",
        }
    }

    /// The better of the two by `Accept-Language`.
    pub(crate) fn of_header(value: &str) -> Self {
        let weight = |tag: &str| {
            let parts = value.split(',').filter_map(|part| {
                let mut pieces = part.split(';').map(str::trim);
                let name = pieces.next()?;
                let same = name.get(..2)?.eq_ignore_ascii_case(tag)
                    && matches!(name.as_bytes().get(2), None | Some(b'-'));
                let q: f32 = pieces
                    .find_map(|p| p.strip_prefix("q="))
                    .map_or(Some(1.0), |q| q.parse().ok())?;
                same.then_some(q)
            });
            parts.fold(0.0, f32::max)
        };
        if weight("fr") > weight("en") { Self::Fr } else { Self::En }
    }

    /// The text in this language.
    pub(crate) fn t<T>(self, en: T, fr: T) -> T {
        match self {
            Self::En => en,
            Self::Fr => fr,
        }
    }

    /// `€1,299.00` and `1 299,00 €`, with spaces that do not break.
    pub(crate) fn money(self, money: Money) -> String {
        let minor = money.amount_minor.unsigned_abs();
        let (whole, cents) = (minor / 100, minor % 100);
        let sign = if money.amount_minor < 0 { "−" } else { "" };
        let grouped = group(whole, self.t(',', '\u{202f}'));
        let currency = money.currency;
        match (self, currency.as_str()) {
            (Self::En, "EUR") => format!("{sign}€{grouped}.{cents:02}"),
            (Self::Fr, "EUR") => format!("{sign}{grouped},{cents:02}\u{a0}€"),
            (Self::En, code) => format!("{sign}{code}\u{a0}{grouped}.{cents:02}"),
            (Self::Fr, code) => format!("{sign}{grouped},{cents:02}\u{a0}{code}"),
        }
    }

    /// `14:05`, in UTC; the page's script turns it into the reader's time.
    pub(crate) fn time(self, at: Timestamp) -> String {
        let text = at.to_string();
        text.get(11..16).unwrap_or_default().to_owned()
    }

    /// `23 November 2026`.
    pub(crate) fn date(self, at: Timestamp) -> String {
        const EN: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        const FR: [&str; 12] = [
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ];
        let text = at.to_string();
        let part =
            |from: usize, to: usize| text.get(from..to).and_then(|p| p.parse::<usize>().ok());
        let (year, month, day) =
            (part(0, 4).unwrap_or(0), part(5, 7).unwrap_or(1), part(8, 10).unwrap_or(1));
        let month = self.t(EN, FR)[month.clamp(1, 12) - 1];
        format!("{day} {month} {year}")
    }

    /// `3 things` with the right form of the noun.
    pub(crate) fn count(self, n: i64, one: (&str, &str), many: (&str, &str)) -> String {
        // In French nothing at all is singular.
        let single = self.t(n == 1, n.abs() < 2);
        let (en, fr) = if single { one } else { many };
        format!("{n}\u{a0}{}", self.t(en, fr))
    }
}

fn group(whole: u64, mark: char) -> String {
    let digits = whole.to_string();
    let mut grouped = String::with_capacity(digits.len() + 4);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(mark);
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_as_people_write_it() {
        for (minor, en, fr) in [
            (0, "€0.00", "0,00\u{a0}€"),
            (1290, "€12.90", "12,90\u{a0}€"),
            (123_456_789, "€1,234,567.89", "1\u{202f}234\u{202f}567,89\u{a0}€"),
            (-500, "−€5.00", "−5,00\u{a0}€"),
            (
                i64::MIN,
                "−€92,233,720,368,547,758.08",
                "−92\u{202f}233\u{202f}720\u{202f}368\u{202f}547\u{202f}758,08\u{a0}€",
            ),
        ] {
            assert_eq!(Lang::En.money(Money::eur(minor)), en);
            assert_eq!(Lang::Fr.money(Money::eur(minor)), fr);
        }
    }

    #[test]
    fn dates_and_counts_read_well() {
        let at: Timestamp = "2026-08-01T09:05:00.000Z".parse().unwrap();
        assert_eq!(
            (Lang::En.date(at), Lang::Fr.date(at)),
            ("1 August 2026".into(), "1 août 2026".into())
        );
        assert_eq!(Lang::En.time(at), "09:05");
        assert_eq!(Lang::En.count(1, ("thing", "objet"), ("things", "objets")), "1\u{a0}thing");
        assert_eq!(Lang::Fr.count(0, ("thing", "objet"), ("things", "objets")), "0\u{a0}objet");
    }

    #[test]
    fn the_greater_weight_wins() {
        for (header, lang) in [
            ("", Lang::En),
            ("fr", Lang::Fr),
            ("en;q=0.4,fr-CH;q=0.5", Lang::Fr),
            ("fry", Lang::En),
            ("é", Lang::En),
        ] {
            assert_eq!(Lang::of_header(header), lang, "{header}");
        }
    }
}
