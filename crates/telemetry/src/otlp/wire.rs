//! The three ways in which OTLP is spoken, and how each says yes and no.

use std::io::Read;

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde::de::DeserializeOwned;

use super::Refused;
use super::convert::Rejected;

/// Inflated; a few kilobytes of zeros may not become gigabytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
    Grpc,
}

impl Encoding {
    /// By `content-type`; gRPC is told by its path.
    pub fn of_content_type(value: &str) -> Option<Self> {
        match value.split(';').next().unwrap_or_default().trim() {
            "application/x-protobuf" | "application/protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
            Self::Grpc => "application/grpc",
        }
    }
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// In seconds, for `retry-after`.
    pub retry_after: Option<u32>,
    /// Of gRPC: code and message, for the trailers.
    pub grpc: Option<(u8, String)>,
}

/// The message within a body: out of its gRPC frame, inflated.
pub(super) fn message(
    encoding: Encoding,
    gzip: bool,
    body: &[u8],
) -> Result<std::borrow::Cow<'_, [u8]>, Refused> {
    let (compressed, message) = match encoding {
        Encoding::Grpc => grpc_frame(body, gzip)?,
        _ => (gzip, body),
    };
    if !compressed {
        return Ok(message.into());
    }
    let mut out = Vec::new();
    let limit = MESSAGE_BYTES_MAX as u64 + 1;
    flate2::read::MultiGzDecoder::new(message)
        .take(limit)
        .read_to_end(&mut out)
        .map_err(|error| Refused::Bad(format!("the body is no valid gzip: {error}")))?;
    if out.len() > MESSAGE_BYTES_MAX {
        let limit = MESSAGE_BYTES_MAX >> 20;
        return Err(Refused::TooLarge(format!("it is over {limit} MiB when inflated")));
    }
    Ok(out.into())
}

fn grpc_frame(body: &[u8], gzip: bool) -> Result<(bool, &[u8]), Refused> {
    let bad = |what: &str| Refused::Bad(format!("the gRPC frame {what}"));
    let (head, message) = body.split_first_chunk::<5>().ok_or_else(|| bad("is not complete"))?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if message.len() != length {
        return Err(bad("is not as long as it says"));
    }
    match (head[0], gzip) {
        (0, _) => Ok((false, message)),
        (1, true) => Ok((true, message)),
        _ => Err(bad("is compressed in a way that was not announced")),
    }
}

pub(super) fn decode<T: Message + Default + DeserializeOwned>(
    encoding: Encoding,
    message: &[u8],
) -> Result<T, Refused> {
    match encoding {
        Encoding::Json => serde_json::from_slice(message)
            .map_err(|error| Refused::Bad(format!("the JSON is not understood: {error}"))),
        Encoding::Protobuf | Encoding::Grpc => T::decode(message)
            .map_err(|error| Refused::Bad(format!("the protobuf is not understood: {error}"))),
    }
}

pub(super) fn traces_done(encoding: Encoding, rejected: Rejected) -> Reply {
    let partial = rejected.told().map(|(count, error_message)| ExportTracePartialSuccess {
        rejected_spans: count,
        error_message,
    });
    done(encoding, &ExportTraceServiceResponse { partial_success: partial })
}

pub(super) fn logs_done(encoding: Encoding, rejected: Rejected) -> Reply {
    let partial = rejected.told().map(|(count, error_message)| ExportLogsPartialSuccess {
        rejected_log_records: count,
        error_message,
    });
    done(encoding, &ExportLogsServiceResponse { partial_success: partial })
}

pub(super) fn metrics_done(encoding: Encoding, rejected: Rejected) -> Reply {
    let partial = rejected.told().map(|(count, error_message)| ExportMetricsPartialSuccess {
        rejected_data_points: count,
        error_message,
    });
    done(encoding, &ExportMetricsServiceResponse { partial_success: partial })
}

fn done(encoding: Encoding, response: &(impl Message + serde::Serialize)) -> Reply {
    let body = match encoding {
        Encoding::Json => serde_json::to_vec(response).unwrap_or_else(|_| b"{}".to_vec()),
        Encoding::Protobuf => response.encode_to_vec(),
        Encoding::Grpc => {
            let message = response.encode_to_vec();
            let mut frame = vec![0];
            frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
            frame.extend_from_slice(&message);
            frame
        }
    };
    Reply {
        status: 200,
        content_type: encoding.content_type(),
        body,
        retry_after: None,
        grpc: (encoding == Encoding::Grpc).then(|| (0, String::new())),
    }
}

/// `google.rpc.Status`, which OTLP asks for in the body of a refusal over HTTP.
#[derive(Clone, PartialEq, Message, serde::Serialize)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

pub(super) fn refusal(encoding: Encoding, refused: &Refused) -> Reply {
    // gRPC: invalid argument; unavailable, which alone may be tried again without further word.
    let (status, code, message, retry_after) = match refused {
        Refused::Bad(why) => (400, 3, why.clone(), None),
        Refused::TooLarge(why) => (413, 3, why.clone(), None),
        Refused::Later => {
            let why = "telemetry comes faster than it can be stored; try again".to_owned();
            (429, 14, why, Some(1))
        }
    };
    if encoding == Encoding::Grpc {
        return Reply {
            status: 200,
            content_type: encoding.content_type(),
            body: Vec::new(),
            retry_after: None,
            grpc: Some((code, message)),
        };
    }
    let told = RpcStatus { code: code.into(), message };
    let body = match encoding {
        Encoding::Json => serde_json::to_vec(&told).unwrap_or_default(),
        _ => told.encode_to_vec(),
    };
    Reply { status, content_type: encoding.content_type(), body, retry_after, grpc: None }
}
