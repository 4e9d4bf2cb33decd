//! The id of a request, from `traceparent` (<https://www.w3.org/TR/trace-context/>): its trace id, which tracing systems show.
//!
//! It names lines of the log and problem documents, and decides nothing. A header that is not as the standard has it, or is
//! there twice, means nothing.

use actix_web::http::header::{HeaderMap, HeaderName};

use crate::domain::RequestId;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Characters of version 00: `vv-<trace id>-<parent id>-ff`.
const CHARS: usize = 55;

/// The id of the request with these headers.
pub(in crate::http) fn request_id(headers: &HeaderMap) -> Option<RequestId> {
    let mut all = headers.get_all(TRACEPARENT);
    let (only, None) = (all.next()?, all.next()) else {
        return None;
    };
    trace_id(only.to_str().ok()?)
}

fn trace_id(text: &str) -> Option<RequestId> {
    let (head, rest) = text.split_at_checked(CHARS)?;
    let mut parts = head.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, chars| {
        text.len() == chars && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    // A later version may have more behind it.
    let ends_well = rest.is_empty() || version != "00" && rest.starts_with('-');
    let is_right = is_hex(version, 2)
        && version != "ff"
        && is_hex(parent, 16)
        && parent.bytes().any(|b| b != b'0')
        && is_hex(flags, 2)
        && ends_well;
    is_right.then(|| RequestId::parse(trace)).flatten()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const RIGHT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_trace_id_is_the_requests() {
        for text in [
            RIGHT.to_owned(),
            RIGHT.replace("-01", "-00"),
            RIGHT.replace("-01", "-ff"),
            RIGHT.replacen("00", "01", 1),
            RIGHT.replacen("00", "fe", 1) + "-more",
        ] {
            let id = trace_id(&text).expect(&text);
            assert_eq!(id.to_string(), TRACE);
        }
    }

    #[test]
    fn garbage_means_nothing() {
        let zeros = |count| "0".repeat(count);
        for text in [
            String::new(),
            "-".repeat(CHARS),
            TRACE.to_owned(),
            RIGHT[1..].to_owned(),
            format!("{RIGHT}-more"),
            format!("{RIGHT} "),
            format!("{RIGHT},{RIGHT}"),
            RIGHT.replacen("00", "01", 1) + "more",
            RIGHT.replacen("00", "ff", 1),
            RIGHT.replacen("00", "0x", 1),
            RIGHT.replace(TRACE, &zeros(32)),
            RIGHT.replace("00f067aa0ba902b7", &zeros(16)),
            RIGHT.replace(TRACE, &TRACE.to_uppercase()),
            RIGHT.replace("4bf9", "4bfg"),
            RIGHT.replace("4bf9", "+bf9"),
            RIGHT.replace("-00f0", "_00f0"),
            RIGHT.replace("-01", "-0x"),
            RIGHT.replace("736-00", "73-600"),
            RIGHT.replace("4bf92f", "é92f"),
            RIGHT.replace("4bf92f", "\"}\n{\""),
        ] {
            assert_eq!(trace_id(&text), None, "{text:?}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_means_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(request_id(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(RIGHT));
        assert!(request_id(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(RIGHT));
        assert_eq!(request_id(&headers), None);
    }
}
