//! Three codings behind one face: bytes in, bytes out, and a flush.

use std::io::{self, Write};

use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// In the order of our own liking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli = 0,
    Zstd = 1,
    Gzip = 2,
}

impl Coding {
    pub(crate) const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// Levels for what is made for one caller: where the next one costs more than it saves.
const BROTLI_ONCE: i32 = 4;
const ZSTD_ONCE: i32 = 3;
const GZIP_ONCE: u32 = 5;
/// And for what is kept and given out again.
const BROTLI_KEPT: i32 = 7;
const ZSTD_KEPT: i32 = 9;
const GZIP_KEPT: u32 = 7;
/// Of an encoder at work: 2 to the power of 19 bytes, and a browser must hold it too.
const BROTLI_WINDOW: i32 = 19;
const BROTLI_BUFFER: usize = 4096;

pub(crate) enum Encoder {
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Encoder {
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        Self::with(coding, (BROTLI_ONCE, ZSTD_ONCE, GZIP_ONCE))
    }

    fn with(coding: Coding, (brotli, zstd, gzip): (i32, i32, u32)) -> io::Result<Self> {
        Ok(match coding {
            Coding::Brotli => {
                let params = BrotliEncoderParams {
                    quality: brotli,
                    lgwin: BROTLI_WINDOW,
                    ..BrotliEncoderParams::default()
                };
                let writer =
                    brotli::CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER, &params);
                Self::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                Self::Zstd(Box::new(zstd::stream::write::Encoder::new(Vec::new(), zstd)?))
            }
            Coding::Gzip => {
                Self::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(gzip))))
            }
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Brotli(writer) => writer.write_all(bytes),
            Self::Zstd(writer) => writer.write_all(bytes),
            Self::Gzip(writer) => writer.write_all(bytes),
        }
    }

    /// Makes all that was written readable.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Brotli(writer) => writer.flush(),
            Self::Zstd(writer) => writer.flush(),
            Self::Gzip(writer) => writer.flush(),
        }
    }

    /// What has come out since the last time.
    pub(crate) fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Brotli(writer) => writer.get_mut(),
            Self::Zstd(writer) => writer.get_mut(),
            Self::Gzip(writer) => writer.get_mut(),
        };
        std::mem::take(out).into()
    }

    pub(crate) fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Brotli(writer) => writer.into_inner(),
            Self::Zstd(writer) => writer.finish()?,
            Self::Gzip(writer) => writer.finish()?,
        }
        .into())
    }
}

/// The whole of something that is kept. `None`: it could not be done.
pub(crate) fn whole(coding: Coding, bytes: &[u8]) -> Option<Vec<u8>> {
    let encode = || {
        let mut encoder = Encoder::with(coding, (BROTLI_KEPT, ZSTD_KEPT, GZIP_KEPT))?;
        encoder.write(bytes)?;
        encoder.finish()
    };
    let encoded: io::Result<Bytes> = encode();
    encoded.ok().map(|bytes| bytes.to_vec())
}
