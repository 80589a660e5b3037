//! Who a client is by its certificate, for the app behind: `x-forwarded-client-cert`.
//!
//! In the form that Envoy gave it, since that is what frameworks read:
//! `Hash=…;Subject="CN=…";URI=…;DNS=…`. The handshake has verified the certificate against the
//! authority of the manifest before anything here is read.

use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::certificate::alternative_names;

/// `None` when it cannot be read, which the verifier does not let through.
pub(super) fn header(der: &CertificateDer<'_>) -> Option<HeaderValue> {
    use std::fmt::Write;
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut text = String::from("Hash=");
    for byte in Sha256::digest(der) {
        let _ = write!(text, "{byte:02x}");
    }
    let _ = write!(text, ";Subject={}", quoted(&certificate.subject().to_string()));
    for name in alternative_names(&certificate) {
        let _ = match name {
            GeneralName::URI(uri) => write!(text, ";URI={}", value(uri)),
            GeneralName::DNSName(name) => write!(text, ";DNS={}", value(name)),
            _ => Ok(()),
        };
    }
    HeaderValue::try_from(text).ok()
}

/// The header separates by these; a name that holds one stands in quotes.
fn value(text: &str) -> String {
    if text.contains([',', ';', '=', '"']) { quoted(text) } else { printable(text) }
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", printable(&escaped))
}

/// What cannot stand in a header becomes `?`.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_forges_a_second_field_by_a_name() {
        assert_eq!(value("spiffe://shop/cart"), "spiffe://shop/cart");
        assert_eq!(value("a;Subject=\"CN=root\""), r#""a;Subject=\"CN=root\"""#);
        assert_eq!(quoted("CN=a\r\nx: y"), "\"CN=a??x: y\"");
    }
}
