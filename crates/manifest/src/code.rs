//! Every problem this crate can report, by code.
//!
//! A code never changes its meaning and is never used again. Its severity is fixed: what is an
//! error in one file is an error in all. The page behind each code is compiled in, so that
//! `archipel explain` works offline and always fits the binary.

use std::fmt;

/// Whether an application with this problem may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

macro_rules! codes {
    ($($variant:ident $text:literal $severity:ident $title:literal;)*) => {
        /// The number of a kind of problem, printed as `ARC0104`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity,)* }
            }

            /// Its page in `docs/errors`: what it means, an example, how to fix it.
            pub fn page(self) -> &'static str {
                match self {
                    $(Code::$variant => {
                        include_str!(concat!("../../../docs/errors/", $text, ".md"))
                    })*
                }
            }

            /// What is wrong, in half a sentence and without the details of one case.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }
        }
    };
}

codes! {
    // Reading files.
    Unreadable          "ARC0001" Error "a file cannot be read";
    TooLarge            "ARC0002" Error "a file is larger than 1 MiB";
    NotUtf8             "ARC0003" Error "a file is not UTF-8 text";
    Syntax              "ARC0004" Error "a file is not valid TOML";
    KeyTwice            "ARC0005" Error "a key is given twice in one table";
    TooDeep             "ARC0006" Error "tables are nested too deeply";
    Version             "ARC0007" Error "this version of the file format is not known";
    IncludeCycle        "ARC0008" Error "files include each other in a circle";
    IncludeTooMany      "ARC0009" Error "more than 100 files are included";
    DefinedTwice        "ARC0010" Error "a name is defined in two files";
    NotInPart           "ARC0011" Error "a key belongs in the main file";
    // The form of keys and values.
    UnknownKey          "ARC0101" Error "a key is not known here";
    WrongType           "ARC0102" Error "a value is of the wrong type";
    MissingKey          "ARC0103" Error "a required key is missing";
    UnknownCallee       "ARC0104" Error "a service calls something that is not defined";
    NotAChoice          "ARC0105" Error "a value is not one of those accepted";
    BadDuration         "ARC0106" Error "a duration cannot be read";
    BadSize             "ARC0107" Error "a size cannot be read";
    BadRange            "ARC0108" Error "a range of durations cannot be read";
    OutOfBounds         "ARC0109" Error "a number is too small or too large";
    BadName             "ARC0110" Error "a name has characters that it cannot have";
    BadText             "ARC0111" Error "a text has the wrong form";
    Exclusive           "ARC0112" Error "keys that exclude each other are given together";
    Empty               "ARC0113" Error "a list or a text is empty";
    Repeated            "ARC0114" Error "a list holds the same entry twice";
    BadCommand          "ARC0115" Error "a command cannot be split into words";
    ShellSyntax         "ARC0116" Error "a command uses shell syntax without a shell";
    // Services.
    SelfCall            "ARC0201" Error "a service calls itself";
    UnknownDependency   "ARC0202" Error "a service depends on something that is not a service";
    DependencyCycle     "ARC0203" Error "services wait for each other in a circle";
    SqliteReplicas      "ARC0204" Error "several replicas share one SQLite file";
    PortReplicas        "ARC0205" Error "several replicas share one fixed port";
    PortTwice           "ARC0206" Error "a port is used twice";
    Wrapper             "ARC0207" Warning "a wrapper does not pass on the stop signal";
    NameTwice           "ARC0208" Error "a service and an external have the same name";
    Disabled            "ARC0209" Warning "something refers to a disabled service";
    ProtocolMismatch    "ARC0210" Error "a call uses another protocol than its callee";
    BadProbe            "ARC0211" Error "a health check cannot work as written";
    BadDatabase         "ARC0212" Error "a database's keys do not fit its engine";
    UnsupportedEngine   "ARC0213" Error "a database engine is not supported";
    MemoryOrder         "ARC0214" Error "memory limits contradict each other";
    BadRegex            "ARC0215" Error "a regular expression cannot be read";
    BadUrl              "ARC0216" Error "a URL cannot be used";
    ZeroDuration        "ARC0217" Error "a duration that must be positive is zero, or one is absurdly long";
    // Events.
    NoPublisher         "ARC0301" Error "nobody publishes what a service subscribes to";
    TwoPublishers       "ARC0302" Error "two services publish the same topic";
    OutboxAlone         "ARC0303" Error "an outbox without topics to publish";
    OverlappingPatterns "ARC0304" Warning "two subscriptions of one service overlap";
    UnusedContract      "ARC0305" Warning "an event contract belongs to no publisher and no subscriber";
    BadSchema           "ARC0306" Error "the JSON Schema of an event cannot be used";
    // The gateway.
    BadListen           "ARC0401" Error "a listen address cannot be read";
    BadPattern          "ARC0402" Error "a route's match cannot be read";
    SameRoute           "ARC0403" Error "two routes match exactly the same requests";
    AmbiguousRoutes     "ARC0404" Error "two routes overlap and neither is more specific";
    UnknownTarget       "ARC0405" Error "a route leads to something that is not defined";
    TcpTarget           "ARC0406" Error "a route leads to a service that does not speak HTTP";
    BadSplit            "ARC0407" Error "the shares of a split do not add up to 100";
    HostTwice           "ARC0408" Error "a host is listed twice";
    UnreachableHost     "ARC0409" Error "a route's host is not one the gateway serves";
    BadHost             "ARC0410" Error "a host name cannot be used";
    BadStrip            "ARC0411" Error "`strip` is not the beginning of the route's path";
    NoCertificate       "ARC0421" Warning "no certificate can be got for a host";
    BadTemplate         "ARC0430" Error "a rewrite or redirect cannot be filled in";
    BadCondition        "ARC0431" Error "a condition of a route cannot be met";
    Pointless           "ARC0432" Error "a key of a route can never act";
    BadSticky           "ARC0433" Error "`sticky` names neither a cookie nor a header";
    // What the gateway lets in.
    UnknownRule         "ARC0451" Error "a route names a rule of the gateway that is not defined";
    BadNetwork          "ARC0452" Error "a network cannot be read";
    BadCors             "ARC0453" Error "cross-origin rules cannot be used";
    BadAuth             "ARC0454" Error "an auth rule cannot work as written";
    BadLimit            "ARC0455" Error "a limit cannot work as written";
    BadHeader           "ARC0456" Error "a header cannot be used";
    // Jobs.
    JobWithoutPlace     "ARC0501" Error "a job has neither a service nor a path";
    BadCron             "ARC0502" Error "a schedule cannot be read";
    UnknownTimezone     "ARC0503" Error "a time zone is not known";
    UnknownJobService   "ARC0504" Error "a job names a service that is not defined";
    ManualSchedule      "ARC0505" Error "a job is both manual and scheduled";
    // Alerts and checks.
    BadAlert            "ARC0551" Error "an alert or an objective cannot work as written";
    BadQuestion         "ARC0552" Error "a question about requests or log lines cannot be read";
    UnknownChannel      "ARC0553" Error "an alert tells a channel that is not defined";
    BadCheck            "ARC0554" Error "a check cannot work as written";
    BadChannel          "ARC0555" Error "a channel cannot send as written";
    // Environment and secrets.
    UnknownSecret       "ARC0601" Error "a secret is used and not declared";
    UnusedSecret        "ARC0602" Warning "a secret is declared and not used";
    BadReference        "ARC0603" Error "a reference in `from` cannot be read";
    UndeclaredReference "ARC0604" Error "a reference to a service that is not in `calls`";
    ReservedVariable    "ARC0605" Error "an environment variable is set by Archipel itself";
    HiddenVariable      "ARC0606" Warning "an environment variable hides one that Archipel sets";
    PlainPassword       "ARC0607" Warning "a password stands in the file";
    BadEnvFile          "ARC0608" Error "a file of environment variables cannot be read";
    // Files and directories.
    NoSuchPath          "ARC0701" Error "a file or directory does not exist";
    WrongKind           "ARC0702" Error "a file stands where a directory is needed, or the reverse";
    EscapingPath        "ARC0703" Error "a path leaves the application's directory";
    // Profiles.
    UnknownProfile      "ARC0801" Error "a profile is not defined";
    ProfileUnknownName  "ARC0802" Error "a profile changes something that the base does not define";
    ProfileAddsCall     "ARC0803" Error "a profile adds a call that the base does not have";
    // Understood, for later.
    Later               "ARC0901" Warning "a key is understood, and not acted on yet in this version";
    // Not of the file: said when the application starts.
    SharedStore         "ARC0910" Error "the database that workflows share cannot be used";
}

/// The page about a code, as people type it: `ARC0104`, `arc104`, `104`.
pub fn explain(code: &str) -> Option<&'static str> {
    code.parse::<Code>().ok().map(Code::page)
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    /// Reads `ARC0104`, also `arc104` or `104`: people type what they remember.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let upper = text.trim().to_ascii_uppercase();
        let digits = upper.strip_prefix("ARC").unwrap_or(&upper);
        let wanted = (digits.len() <= 4).then(|| format!("ARC{digits:0>4}"));
        Self::ALL
            .iter()
            .copied()
            .find(|code| Some(code.as_str()) == wanted.as_deref())
            .ok_or_else(|| UnknownCode { text: text.to_owned() })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the code of a problem: they look like `ARC0104`")]
pub struct UnknownCode {
    pub text: String,
}
