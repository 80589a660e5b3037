//! What a customer can be reached by, and what of it is acceptable.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use store_kit::{CustomerId, FieldError, Problem, Tx, text_enum};

text_enum! {
    pub(crate) enum Kind { Guest = "guest", Member = "member" }
}

/// Whether messages about one's own orders may be sent this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consent {
    pub(crate) sms: bool,
    pub(crate) email: bool,
}

/// A customer as events tell it; others may keep a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Customer {
    pub(crate) customer_id: CustomerId,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) phone: String,
    pub(crate) locale: String,
    pub(crate) kind: Kind,
    pub(crate) consent: Consent,
}

impl Customer {
    const COLUMNS: &str = "id, name, email, phone, locale, kind, consent_sms, consent_email";

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            customer_id: row.get(0)?,
            name: row.get(1)?,
            email: row.get(2)?,
            phone: row.get(3)?,
            locale: row.get(4)?,
            kind: row.get(5)?,
            consent: Consent { sms: row.get(6)?, email: row.get(7)? },
        })
    }

    pub(crate) fn find(conn: &Connection, id: &CustomerId) -> Result<Option<Self>, Problem> {
        let sql = format!("SELECT {} FROM customer WHERE id = ?", Self::COLUMNS);
        Ok(conn.prepare_cached(&sql)?.query_row([id], Self::from_row).optional()?)
    }

    /// Tells the others, in the transaction that makes it true.
    pub(crate) fn publish(&self, tx: &Tx<'_>, topic: &str) -> Result<(), Problem> {
        tx.publish(topic, &self.customer_id, self)
    }
}

/// Collects what is wrong, so that a person hears of all of it at once.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<FieldError>);

impl Faults {
    pub(crate) fn add(&mut self, pointer: &str, detail: impl Into<String>) {
        self.0.push(FieldError { pointer: pointer.to_owned(), detail: detail.into() });
    }

    pub(crate) fn check(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let problem = Problem::validation("Some of this cannot be accepted.");
        Err(self.0.into_iter().fold(problem, |p, fault| p.field(fault.pointer, fault.detail)))
    }

    /// One line of text, trimmed.
    pub(crate) fn text(&mut self, pointer: &str, text: &str, least: usize, most: usize) -> String {
        let text = text.trim();
        let length = text.chars().count();
        if length < least || length > most {
            self.add(pointer, format!("{least} to {most} characters"));
        } else if text.chars().any(char::is_control) {
            self.add(pointer, "one line, without control characters");
        }
        text.to_owned()
    }

    /// An address that can be meant; only a message shows whether it is real.
    pub(crate) fn email(&mut self, text: &str) -> String {
        let text = text.trim();
        let plain =
            text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"<>,;\"".contains(c));
        let good = plain
            && text.len() <= 254
            && text.rsplit_once('@').is_some_and(|(local, domain)| {
                let labels = domain.split('.').collect::<Vec<_>>();
                (1..=64).contains(&local.len())
                    && !local.contains('@')
                    && labels.len() >= 2
                    && labels
                        .iter()
                        .all(|l| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-'))
            });
        if !good {
            self.add("/email", "an address such as name@example.test");
        }
        text.to_owned()
    }

    /// E.164 without the marks that people put between digits; empty when there is none.
    pub(crate) fn phone(&mut self, text: &str) -> String {
        let digits: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '.' | '(' | ')' | '/'))
            .collect();
        let good = digits.is_empty()
            || digits.strip_prefix('+').is_some_and(|number| {
                (7..=15).contains(&number.len())
                    && number.bytes().all(|b| b.is_ascii_digit())
                    && !number.starts_with('0')
            });
        if !good {
            self.add("/phone", "an international number such as +33 6 39 98 00 01");
        }
        digits
    }

    pub(crate) fn locale(&mut self, text: &str) -> String {
        let text = text.trim();
        let (language, region) = text.split_once('-').unwrap_or((text, "XX"));
        let good = language.len() == 2
            && language.bytes().all(|b| b.is_ascii_lowercase())
            && region.len() == 2
            && region.bytes().all(|b| b.is_ascii_uppercase());
        if !good {
            self.add("/locale", "a language such as en or fr-FR");
        }
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(check: impl FnOnce(&mut Faults) -> String) -> Option<String> {
        let mut faults = Faults::default();
        let text = check(&mut faults);
        faults.check().is_ok().then_some(text)
    }

    #[test]
    fn addresses() {
        for good in ["a@example.test", " A.b+c@shop.example.test ", "é@exämple.test"] {
            assert_eq!(accepted(|f| f.email(good)).as_deref(), Some(good.trim()), "{good}");
        }
        for bad in [
            "",
            "a",
            "@example.test",
            "a@",
            "a@test",
            "a@b@example.test",
            "a b@example.test",
            "a@.test",
            "a@-x.test",
            "<a@example.test>",
        ] {
            assert_eq!(accepted(|f| f.email(bad)), None, "{bad}");
        }
        assert_eq!(accepted(|f| f.email(&format!("{}@example.test", "a".repeat(65)))), None);
    }

    #[test]
    fn numbers() {
        for (given, kept) in [
            ("+33 6 39 98 00 01", "+33639980001"),
            ("+44 (7700) 900-123", "+447700900123"),
            ("", ""),
            ("  ", ""),
        ] {
            assert_eq!(accepted(|f| f.phone(given)).as_deref(), Some(kept), "{given}");
        }
        for bad in [
            "0639980001",
            "+0123456789",
            "+33",
            "+33x39980001",
            "+1234567890123456",
            "++33639980001",
        ] {
            assert_eq!(accepted(|f| f.phone(bad)), None, "{bad}");
        }
    }

    #[test]
    fn languages() {
        for good in ["en", "fr", "fr-FR"] {
            assert!(accepted(|f| f.locale(good)).is_some(), "{good}");
        }
        for bad in ["", "e", "EN", "english", "fr-fr", "fr_FR", "fr-"] {
            assert_eq!(accepted(|f| f.locale(bad)), None, "{bad}");
        }
    }
}
