//! A writer of DER, as lax as a test needs it: any tag, any content.

/// One element.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        length @ 0..=127 => out.push(u8::try_from(length).expect("below 128")),
        length => {
            let bytes = length.to_be_bytes();
            let bytes: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | u8::try_from(bytes.len()).expect("at most 8"));
            out.extend(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}

/// Parts, one after the other, as one element.
pub(crate) fn tlv_of(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(tag, &parts.concat())
}

/// SEQUENCE.
pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv_of(0x30, parts)
}

/// OBJECT IDENTIFIER by its content.
pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    tlv(0x06, content)
}

/// INTEGER from 0 to 255, minimal.
pub(crate) fn integer(number: u8) -> Vec<u8> {
    if number < 0x80 {
        tlv(0x02, &[number])
    } else {
        tlv(0x02, &[0, number])
    }
}

/// BIT STRING without unused bits.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

/// UTCTime or GeneralizedTime, as RFC 5280 says for the year.
pub(crate) fn time(text: &str) -> Vec<u8> {
    // `text` is YYYYMMDDHHMMSS.
    if &text[..4] < "2050" {
        tlv(0x17, format!("{}Z", &text[2..]).as_bytes())
    } else {
        tlv(0x18, format!("{text}Z").as_bytes())
    }
}
