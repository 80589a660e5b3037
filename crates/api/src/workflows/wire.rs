//! The messages of Dapr's own workflow methods: few enough to be written down here.

use std::collections::HashMap;

use prost::Message;
use prost_types::Timestamp;

#[derive(Clone, PartialEq, Message)]
pub(super) struct StartRequest {
    #[prost(string, tag = "1")]
    pub instance_id: String,
    #[prost(string, tag = "3")]
    pub workflow_name: String,
    #[prost(map = "string, string", tag = "4")]
    pub options: HashMap<String, String>,
    #[prost(bytes = "vec", tag = "5")]
    pub input: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StartResponse {
    #[prost(string, tag = "1")]
    pub instance_id: String,
}

/// Of all that name an instance and nothing else.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InstanceRequest {
    #[prost(string, tag = "1")]
    pub instance_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RaiseRequest {
    #[prost(string, tag = "1")]
    pub instance_id: String,
    #[prost(string, tag = "3")]
    pub event_name: String,
    #[prost(bytes = "vec", tag = "4")]
    pub event_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetResponse {
    #[prost(string, tag = "1")]
    pub instance_id: String,
    #[prost(string, tag = "2")]
    pub workflow_name: String,
    #[prost(message, optional, tag = "3")]
    pub created_at: Option<Timestamp>,
    #[prost(message, optional, tag = "4")]
    pub last_updated_at: Option<Timestamp>,
    #[prost(string, tag = "5")]
    pub runtime_status: String,
    #[prost(map = "string, string", tag = "6")]
    pub properties: HashMap<String, String>,
}

/// Some clients ask this before anything else.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MetadataResponse {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(map = "string, string", tag = "4")]
    pub extended: HashMap<String, String>,
    #[prost(string, tag = "8")]
    pub runtime_version: String,
}
