//! A small ACME authority (RFC 8555): enough of one to be asked for certificates, and as strict
//! about proofs as a real one. It signs for as short a time as a test likes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_rt::clock;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateSigningRequestParams, SerialNumber};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::prelude::FromDer;

use crate::support::*;
use crate::tls_support::*;

pub(crate) struct AcmeServer {
    pub(crate) authority: Authority,
    pub(crate) addr: SocketAddr,
    /// Where it looks for proofs; names are not looked up.
    tls_at: Mutex<Option<SocketAddr>>,
    http_at: Mutex<Option<SocketAddr>>,
    pub(crate) life: Mutex<Duration>,
    /// Refuses every order.
    pub(crate) broken: AtomicBool,
    /// Refuses to look at the TLS port.
    pub(crate) only_http: AtomicBool,
    pub(crate) accounts: AtomicU64,
    pub(crate) orders: AtomicU64,
    pub(crate) issued: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    thumbprint: String,
    orders: BTreeMap<u64, Order>,
}

#[derive(Default, Clone)]
struct Order {
    host: String,
    status: &'static str,
    authorization: &'static str,
    error: Option<String>,
    chain: Option<String>,
}

impl AcmeServer {
    pub(crate) async fn start(world: &World) -> Arc<Self> {
        let (listener, addr) = world.raw().await;
        let server = Arc::new(Self {
            authority: Authority::new(),
            addr,
            tls_at: Mutex::default(),
            http_at: Mutex::default(),
            life: Mutex::new(Duration::from_secs(3_600)),
            broken: AtomicBool::new(false),
            only_http: AtomicBool::new(false),
            accounts: AtomicU64::new(0),
            orders: AtomicU64::new(0),
            issued: AtomicU64::new(0),
            state: Mutex::default(),
        });
        let (this, tasks, stop) =
            (Arc::clone(&server), world.tasks.clone(), world.tasks.stop_token());
        world.tasks.spawn("test.acme", async move {
            loop {
                let (stream, _) = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                let this = Arc::clone(&this);
                let service = service_fn(move |request| {
                    let this = Arc::clone(&this);
                    async move { Ok::<_, std::convert::Infallible>(this.answer(request).await) }
                });
                tasks.spawn("test.acme-connection", async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        server
    }

    pub(crate) fn looks_at(&self, tls: SocketAddr, http: Option<SocketAddr>) {
        *self.tls_at.lock().unwrap() = Some(tls);
        *self.http_at.lock().unwrap() = http;
    }

    pub(crate) fn directory(&self) -> String {
        self.url("dir")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addr)
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().trim_start_matches('/').to_owned();
        let body = body.collect().await.unwrap().to_bytes();
        let nonce = format!("nonce{}", self.orders.load(SeqCst));
        let reply = |status: u16, location: Option<String>, body: Value| {
            let mut response = Response::builder().status(status).header("replay-nonce", &nonce);
            if let Some(location) = location {
                response = response.header(header::LOCATION, location);
            }
            response.body(Full::new(Bytes::from(body.to_string()))).unwrap()
        };
        if path == "dir" {
            let url = |path| self.url(path);
            let directory = json!({
                "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
            });
            return reply(200, None, directory);
        }
        if head.method == Method::HEAD {
            return reply(200, None, Value::Null);
        }
        let (protected, payload) = unsigned(&body);
        let words: Vec<&str> = path.split('/').collect();
        let number: u64 = words.get(1).and_then(|word| word.parse().ok()).unwrap_or_default();
        match words[0] {
            "account" => {
                self.accounts.fetch_add(1, SeqCst);
                self.state.lock().unwrap().thumbprint = thumbprint(&protected["jwk"]);
                reply(201, Some(self.url("account/1")), json!({ "status": "valid" }))
            }
            "order" if words.len() == 1 => {
                let number = self.orders.fetch_add(1, SeqCst) + 1;
                if self.broken.load(SeqCst) {
                    let problem = json!({
                        "type": "urn:ietf:params:acme:error:serverInternal",
                        "detail": "out of order today", "status": 500,
                    });
                    return reply(500, None, problem);
                }
                let host = payload["identifiers"][0]["value"].as_str().unwrap().to_owned();
                let order =
                    Order { host, status: "pending", authorization: "pending", ..Order::default() };
                self.state.lock().unwrap().orders.insert(number, order);
                let location = self.url(&format!("order/{number}"));
                reply(201, Some(location), self.order(number))
            }
            "order" => reply(200, None, self.order(number)),
            "authz" => reply(200, None, self.authorization(number)),
            "chall" => {
                self.check(number, words[2]).await;
                reply(200, None, self.challenge(number, words[2]))
            }
            "finalize" => {
                self.sign(number, payload["csr"].as_str().unwrap());
                reply(200, None, self.order(number))
            }
            "cert" => {
                let chain = self.state.lock().unwrap().orders[&number].chain.clone().unwrap();
                let pem = Full::new(Bytes::from(chain));
                Response::builder().header("replay-nonce", &nonce).body(pem).unwrap()
            }
            other => panic!("nobody asks an ACME server for `{other}`"),
        }
    }

    fn order(&self, number: u64) -> Value {
        let order = self.state.lock().unwrap().orders[&number].clone();
        let certificate = order.chain.map(|_| self.url(&format!("cert/{number}")));
        json!({
            "status": order.status,
            "identifiers": [{ "type": "dns", "value": order.host }],
            "authorizations": [self.url(&format!("authz/{number}"))],
            "finalize": self.url(&format!("finalize/{number}")),
            "certificate": certificate,
        })
    }

    fn authorization(&self, number: u64) -> Value {
        let order = self.state.lock().unwrap().orders[&number].clone();
        json!({
            "identifier": { "type": "dns", "value": order.host },
            "status": order.authorization,
            "challenges": [self.challenge(number, "tls-alpn-01"), self.challenge(number, "http-01")],
        })
    }

    fn challenge(&self, number: u64, kind: &str) -> Value {
        let order = self.state.lock().unwrap().orders[&number].clone();
        let error = order.error.map(
            |detail| json!({ "type": "urn:ietf:params:acme:error:connection", "detail": detail }),
        );
        json!({
            "type": kind,
            "url": self.url(&format!("chall/{number}/{kind}")),
            "token": format!("token-{number}-{kind}"),
            "status": order.authorization,
            "error": error,
        })
    }

    /// Looks for the proof where a real authority would.
    async fn check(&self, number: u64, kind: &str) {
        let (host, thumbprint) = {
            let state = self.state.lock().unwrap();
            (state.orders[&number].host.clone(), state.thumbprint.clone())
        };
        let proof = format!("token-{number}-{kind}.{thumbprint}");
        let outcome = match kind {
            "http-01" => {
                self.look_over_http(&host, &format!("token-{number}-{kind}"), &proof).await
            }
            _ if self.only_http.load(SeqCst) => Err("something is in front of it".to_owned()),
            _ => self.look_over_tls(&host, &proof).await,
        };
        let mut state = self.state.lock().unwrap();
        let order = state.orders.get_mut(&number).unwrap();
        (order.status, order.authorization) = match outcome {
            Ok(()) => ("ready", "valid"),
            Err(_) => ("invalid", "invalid"),
        };
        order.error = outcome.err();
    }

    async fn look_over_tls(&self, host: &str, proof: &str) -> Result<(), String> {
        let at = self.tls_at.lock().unwrap().unwrap();
        let config = builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        let stream =
            connect(at, config, host, &["acme-tls/1"]).await.map_err(|error| error.to_string())?;
        let session = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(&b"acme-tls/1"[..]));
        let shown = &session.peer_certificates().unwrap()[0];
        let (_, shown) = x509_parser::certificate::X509Certificate::from_der(shown).unwrap();
        let extension = shown
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .ok_or("no proof in the certificate")?;
        let mut expected = vec![4, 32];
        expected.extend(Sha256::digest(proof));
        if extension.critical && extension.value == expected { Ok(()) } else { Err("wrong".into()) }
    }

    async fn look_over_http(&self, host: &str, token: &str, proof: &str) -> Result<(), String> {
        let Some(at) = *self.http_at.lock().unwrap() else { return Err("refused".to_owned()) };
        let path = format!("/.well-known/acme-challenge/{token}");
        let bytes = crate::limits::raw(
            at,
            &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
        )
        .await;
        if bytes.ends_with(proof) { Ok(()) } else { Err(bytes) }
    }

    fn sign(&self, number: u64, csr: &str) {
        let csr = B64.decode(csr).unwrap();
        let mut request = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        let now = clock::wall();
        request.params.not_before = now.into();
        request.params.not_after = (now + *self.life.lock().unwrap()).into();
        request.params.serial_number = Some(SerialNumber::from(number));
        let signed = request.signed_by(&self.authority.issuer).unwrap();
        self.issued.fetch_add(1, SeqCst);
        let mut state = self.state.lock().unwrap();
        let order = state.orders.get_mut(&number).unwrap();
        (order.status, order.chain) = ("valid", Some(signed.pem()));
    }
}

/// The two parts of a signed message; who signed is known, it is the only client.
fn unsigned(body: &[u8]) -> (Value, Value) {
    let message: Value = serde_json::from_slice(body).unwrap();
    let part = |name: &str| {
        let bytes = B64.decode(message[name].as_str().unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    };
    (part("protected"), part("payload"))
}

/// RFC 7638.
fn thumbprint(jwk: &Value) -> String {
    let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let canonical = format!(
        r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
        text("crv"),
        text("kty"),
        text("x"),
        text("y")
    );
    B64.encode(Sha256::digest(canonical))
}

/// A proof is in a certificate that signs itself.
#[derive(Debug)]
struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
