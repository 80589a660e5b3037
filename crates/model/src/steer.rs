//! What a route does with a request beyond passing it to one service.

use std::collections::BTreeMap;

use crate::{FallbackOn, Route, ServiceName, Template};

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lead {
    Service(ServiceName),
    /// Shares of a hundred.
    Split(BTreeMap<ServiceName, u32>),
    Redirect {
        to: Template,
        status: u16,
    },
    Respond(Respond),
}

/// An answer that stands in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Respond {
    pub status: u16,
    pub body: String,
    pub content_type: String,
}

impl Lead {
    /// The one service, where it is one.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Service(name) => Some(name),
            _ => None,
        }
    }

    /// Every service that may get the request, also with a share of nothing.
    pub fn services(&self) -> Vec<&ServiceName> {
        match self {
            Self::Service(name) => vec![name],
            Self::Split(shares) => shares.keys().collect(),
            Self::Redirect { .. } | Self::Respond(_) => Vec::new(),
        }
    }
}

impl From<ServiceName> for Lead {
    fn from(name: ServiceName) -> Self {
        Self::Service(name)
    }
}

/// All that is off unless a route asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Steer {
    /// All must hold, or the route does not match.
    pub when: Vec<Condition>,
    pub rewrite: Option<Template>,
    pub sticky: Option<Sticky>,
    pub mirror: Option<Mirror>,
    pub compare: Option<Compare>,
    pub fallback: Option<Elsewhere>,
}

/// One condition on a request besides host, path and method.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Condition {
    pub part: Part,
    /// Headers in lower case.
    pub name: String,
    pub want: Want,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Header,
    Query,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    Present,
    Absent,
    Exact(String),
    Prefix(String),
}

impl Want {
    /// `value`: what the request has, if anything.
    pub fn holds(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (Self::Present, value) => value.is_some(),
            (Self::Absent, value) => value.is_none(),
            (Self::Exact(want), Some(value)) => want.as_bytes() == value,
            (Self::Prefix(want), Some(value)) => value.starts_with(want.as_bytes()),
            (Self::Exact(_) | Self::Prefix(_), None) => false,
        }
    }

    /// Whether no value fulfils both.
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => false,
            (Self::Absent, _) | (_, Self::Absent) => true,
            (Self::Exact(a), Self::Exact(b)) => a != b,
            (Self::Exact(a), Self::Prefix(b)) | (Self::Prefix(b), Self::Exact(a)) => {
                !a.starts_with(b)
            }
            (Self::Prefix(a), Self::Prefix(b)) => !a.starts_with(b) && !b.starts_with(a),
            (Self::Present, _) | (_, Self::Present) => false,
        }
    }
}

impl std::fmt::Display for Condition {
    /// As people would write it: `X-Beta: 1`, `?v=2`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.name;
        match (self.part, &self.want) {
            (Part::Header, Want::Present) => write!(f, "{name}:*"),
            (Part::Header, Want::Absent) => write!(f, "!{name}"),
            (Part::Header, Want::Exact(value)) => write!(f, "{name}:{value}"),
            (Part::Header, Want::Prefix(value)) => write!(f, "{name}:{value}*"),
            (Part::Query, Want::Present) => write!(f, "?{name}"),
            (Part::Query, Want::Absent) => write!(f, "!?{name}"),
            (Part::Query, Want::Exact(value)) => write!(f, "?{name}={value}"),
            (Part::Query, Want::Prefix(value)) => write!(f, "?{name}={value}*"),
        }
    }
}

/// By what a visitor is known again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sticky {
    /// One that we set.
    Cookie,
    /// One that the visitor sends; in lower case.
    Header(String),
}

/// Which of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sample {
    pub per_million: u32,
}

impl Sample {
    pub const ALL: Self = Self { per_million: 1_000_000 };

    /// `draw` is uniform over all numbers.
    pub fn takes(self, draw: u64) -> bool {
        (u128::from(draw) * 1_000_000) >> 64 < u128::from(self.per_million)
    }
}

/// Copies whose answers nobody looks at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mirror {
    pub to: ServiceName,
    pub sample: Sample,
}

/// Copies whose answers are compared with those that the caller got.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Compare {
    pub to: ServiceName,
    pub sample: Sample,
    /// JSON pointers; a segment `*` stands for every member or element.
    pub ignore: Vec<String>,
}

/// Who is asked when the first says "not mine", or nothing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Elsewhere {
    pub to: ServiceName,
    pub on: FallbackOn,
    /// Upper case.
    pub methods: Vec<String>,
}

impl Steer {
    /// The key that keeps answers of the route from being stored.
    pub fn uncached_by(&self) -> Option<&'static str> {
        let Self { when: _, rewrite: _, sticky, mirror, compare, fallback } = self;
        let keys = [
            ("sticky", sticky.is_some()),
            ("mirror", mirror.is_some()),
            ("compare", compare.is_some()),
            ("fallback", fallback.is_some()),
        ];
        keys.into_iter().find_map(|(key, stands)| stands.then_some(key))
    }
}

impl Route {
    /// Whether what it answers can be given out again: that it takes a request tells who answers
    /// it, and a request that is answered from memory is missed by nobody. (What is stored is
    /// stored for one route, so conditions are no obstacle.)
    pub fn may_cache(&self) -> bool {
        matches!(self.to, Lead::Service(_)) && self.steer.uncached_by().is_none()
    }

    /// As reports name it: `GET shop.example.org/api/**`, with its conditions.
    pub fn label(&self) -> String {
        let mut label = String::new();
        if let Some(method) = &self.method {
            label.push_str(method);
            label.push(' ');
        }
        label.push_str(self.host.as_deref().unwrap_or_default());
        label.push_str(self.path.as_str());
        for condition in &self.steer.when {
            label.push_str(&format!(" {condition}"));
        }
        label
    }

    /// Every service and external that it can bring a request to.
    pub fn callees(&self) -> Vec<&ServiceName> {
        let mut callees = self.to.services();
        callees.extend(self.steer.fallback.iter().map(|fallback| &fallback.to));
        callees.extend(self.steer.compare.iter().map(|compare| &compare.to));
        callees.extend(self.steer.mirror.iter().map(|mirror| &mirror.to));
        callees
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_that_exclude_each_other_have_no_common_value() {
        let exact = |text: &str| Want::Exact(text.to_owned());
        let prefix = |text: &str| Want::Prefix(text.to_owned());
        let all = [
            Want::Present,
            Want::Absent,
            exact("a"),
            exact("ab"),
            prefix("a"),
            prefix("b"),
            prefix(""),
        ];
        let values: [Option<&[u8]>; 5] = [None, Some(b""), Some(b"a"), Some(b"ab"), Some(b"bc")];
        for a in &all {
            for b in &all {
                let common = values.iter().any(|v| a.holds(*v) && b.holds(*v));
                assert_eq!(a.excludes(b), !common, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_sample_takes_its_share() {
        let half = Sample { per_million: 500_000 };
        assert!(half.takes(0) && !half.takes(u64::MAX / 2 + 2));
        assert!(Sample::ALL.takes(u64::MAX) && !Sample { per_million: 0 }.takes(0));
    }
}
