//! Base64 read bit by bit: the independent parser for hashes and addresses.

/// The bytes of a text of one alphabet, with its padding right or left out, and without stray bits.
pub(super) fn decode(text: &str, url: bool) -> Option<Vec<u8>> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'-' if url => Some(62),
        b'_' if url => Some(63),
        b'+' if !url => Some(62),
        b'/' if !url => Some(63),
        _ => None,
    };
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    if padding > 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut bits = String::new();
    for c in bare.bytes() {
        bits.push_str(&format!("{:06b}", value(c)?));
    }
    let (whole, stray) = bits.split_at(bits.len() / 8 * 8);
    if stray.contains('1') || stray.len() >= 6 {
        return None;
    }
    let byte = |bits: &[u8]| bits.iter().fold(0_u8, |byte, bit| byte << 1 | (bit - b'0'));
    Some(whole.as_bytes().chunks(8).map(byte).collect())
}

/// The text of bytes, padded if wished.
pub(super) fn encode(bytes: &[u8], url: bool, padded: bool) -> String {
    let alphabet = if url { "-_" } else { "+/" };
    let digits: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(alphabet.bytes())
        .collect();
    let mut bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    while !bits.len().is_multiple_of(6) {
        bits.push('0');
    }
    let value = |bits: &[u8]| {
        bits.iter()
            .fold(0_usize, |value, bit| value << 1 | usize::from(bit - b'0'))
    };
    let mut text: String = bits
        .as_bytes()
        .chunks(6)
        .map(|chunk| char::from(digits[value(chunk)]))
        .collect();
    while padded && !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}
