//! `grpc.health.v1.Health/Check` for the server as a whole, on the wire.
//!
//! The request is the empty message, the answer one enum: too little to generate code for.

/// A frame (not compressed, no bytes) that holds the empty request.
pub(super) const REQUEST: &[u8] = &[0, 0, 0, 0, 0];

/// The status in a response body: field 1 as a varint; absent means 0, UNKNOWN.
pub(super) fn parse(body: &[u8]) -> Result<u64, &'static str> {
    let [compressed, a, b, c, d, rest @ ..] = body else { return Err("an empty answer") };
    if *compressed != 0 {
        return Err("a compressed answer, which was not asked for");
    }
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    let mut message = rest.get(..length).ok_or("a cut answer")?;
    let mut status = 0;
    while let Some(tag) = varint(&mut message) {
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut message).ok_or("a cut answer")?,
            (_, 0) => drop(varint(&mut message).ok_or("a cut answer")?),
            (_, 2) => {
                let length = varint(&mut message).ok_or("a cut answer")?;
                let length = usize::try_from(length).map_err(|_| "a cut answer")?;
                message = message.get(length..).ok_or("a cut answer")?;
            }
            (_, 1) => message = message.get(8..).ok_or("a cut answer")?,
            (_, 5) => message = message.get(4..).ok_or("a cut answer")?,
            _ => return Err("an answer that is no protobuf"),
        }
    }
    Ok(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(i).ok()?)?;
        if byte & 0x80 == 0 {
            *bytes = &bytes[i + 1..];
            return Some(value);
        }
    }
    None
}

pub(super) fn name(status: u64) -> &'static str {
    match status {
        0 => "UNKNOWN",
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "a status that the protocol does not define",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_servers_send() {
        assert_eq!(parse(&[0, 0, 0, 0, 2, 8, 1]), Ok(1));
        assert_eq!(parse(&[0, 0, 0, 0, 0]), Ok(0));
        assert_eq!(parse(&[0, 0, 0, 0, 5, 18, 1, b'x', 8, 2]), Ok(2));
        assert!(parse(&[]).is_err());
        assert!(parse(&[0, 0, 0, 0, 9, 8, 1]).is_err());
        assert!(parse(&[1, 0, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&body);
        }
    }
}
