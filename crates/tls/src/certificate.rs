//! The two things of a certificate that rustls does not tell: until when it is valid, and its common name.
//!
//! This reads DER (X.690) as far as the subject of a certificate (RFC 5280, section 4.1). It judges nothing: whether
//! a certificate can be believed was decided before.

/// What there is to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The common name of the subject. `None` if there is none, if it is empty, or if there are several, of which
    /// nobody could say which is meant.
    pub common_name: Option<String>,
    /// The last second since 1970 in UTC at which it is valid; zero if that is before 1970.
    pub not_after: u64,
}

pub(crate) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
pub(crate) const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1e;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version stands in `[0]`, and may be missing.
const VERSION: u8 = 0xa0;
/// `id-at-commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

impl Certificate {
    /// Reads a certificate in DER; `None` if it is none.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let mut signed = from_validity(der)?;
        let mut validity = Der(signed.next_of(SEQUENCE)?);
        let (_not_before, not_after) = (validity.next()?, validity.next()?);
        let not_after = seconds(not_after.0, not_after.1)?;
        let common_name = common_name(signed.next_of(SEQUENCE)?)?;
        Some(Self { common_name, not_after })
    }
}

/// What is in the `SubjectPublicKeyInfo` of a certificate.
pub(crate) fn public_key_info(der: &[u8]) -> Option<&[u8]> {
    let mut signed = from_validity(der)?;
    let (_validity, _subject) = (signed.next_of(SEQUENCE)?, signed.next_of(SEQUENCE)?);
    signed.next_of(SEQUENCE)
}

/// What is signed of a certificate, from the validity on.
fn from_validity(der: &[u8]) -> Option<Der<'_>> {
    let mut certificate = Der(Der(der).next_of(SEQUENCE)?);
    let mut signed = Der(certificate.next_of(SEQUENCE)?);
    if signed.0.first() == Some(&VERSION) {
        signed.next()?;
    }
    let (_serial, _algorithm, _issuer) =
        (signed.next()?, signed.next_of(SEQUENCE)?, signed.next_of(SEQUENCE)?);
    Some(signed)
}

/// The one common name of a subject; the outer `None` is for what is no subject.
fn common_name(subject: &[u8]) -> Option<Option<String>> {
    let mut names = Vec::new();
    let mut sets = Der(subject);
    while !sets.0.is_empty() {
        let mut set = Der(sets.next_of(SET)?);
        while !set.0.is_empty() {
            let mut attribute = Der(set.next_of(SEQUENCE)?);
            if attribute.next_of(OBJECT_ID)? == COMMON_NAME {
                let (kind, bytes) = attribute.next()?;
                names.push(text(kind, bytes));
            }
        }
    }
    match &mut names[..] {
        [name] => Some(name.take().filter(|name| !name.is_empty())),
        _ => Some(None),
    }
}

fn text(kind: u8, bytes: &[u8]) -> Option<String> {
    match kind {
        UTF8_STRING => Some(str::from_utf8(bytes).ok()?.to_owned()),
        PRINTABLE_STRING | IA5_STRING | TELETEX_STRING => {
            bytes.is_ascii().then(|| bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        BMP_STRING => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok())?
        }
        _ => None,
    }
}

/// The seconds since 1970 of a time.
fn seconds(kind: u8, bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number =
        |digits: &[u8]| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (kind, digits.len()) {
        (UTC_TIME, 12) => match number(&digits[..2]) {
            year @ 50.. => (1900 + year, &digits[2..]),
            year => (2000 + year, &digits[2..]),
        },
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |at: usize| number(&rest[2 * at..2 * at + 2]);
    let (month, day, hour, minute, second) = (part(0), part(1), part(2), part(3), part(4));
    let is_time = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !is_time {
        return None;
    }
    // Years that begin in March have their odd day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(u64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).unwrap_or(0))
}

/// The rest of some DER.
pub(crate) struct Der<'a>(pub(crate) &'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and what is in it.
    pub(crate) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>()?;
        // Tags of several bytes do not occur here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let length = match first {
            0..=0x7f => usize::from(first),
            // A length in so many bytes. More than four is no length of a certificate, and none is not DER.
            0x81..=0x84 => {
                let (length, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = after;
                length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next element, if it is one of these.
    pub(crate) fn next_of(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn names_and_ends() {
        let named = |value: DnValue| {
            let der = certificate(|params| {
                params.distinguished_name.push(DnType::OrganizationName, "somebody else");
                params.distinguished_name.push(DnType::CommonName, value);
                params.not_after = date_time_ymd(2049, 12, 31);
            });
            Certificate::parse(&der).expect("a certificate")
        };
        let expected =
            Certificate { common_name: Some("älice".to_owned()), not_after: 2_524_521_600 };
        assert_eq!(named(DnValue::Utf8String("älice".to_owned())), expected);
        let bmp = rcgen::string::BmpString::try_from("älice").expect("a text");
        assert_eq!(named(DnValue::BmpString(bmp)), expected);
        let printable = rcgen::string::PrintableString::try_from("alice").expect("a text");
        let found = named(DnValue::PrintableString(printable));
        assert_eq!(found.common_name.as_deref(), Some("alice"));
        assert_eq!(named(DnValue::Utf8String(String::new())).common_name, None);
    }

    #[test]
    fn a_name_that_is_missing() {
        let der = certificate(|params| params.not_after = date_time_ymd(2050, 1, 1));
        let expected = Certificate { common_name: None, not_after: 2_524_608_000 };
        assert_eq!(Certificate::parse(&der), Some(expected));
    }

    #[test]
    fn two_names_are_none() {
        let one = [&[SET, 12, SEQUENCE, 10, OBJECT_ID, 3], COMMON_NAME, &[UTF8_STRING, 3], b"abc"];
        let one = one.concat();
        assert_eq!(common_name(&one), Some(Some("abc".to_owned())));
        assert_eq!(common_name(&[one.clone(), one.clone()].concat()), Some(None));
        assert_eq!(common_name(&one[..one.len() - 1]), None);
    }

    #[test]
    fn times() {
        assert_eq!(seconds(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(UTC_TIME, b"500101000000Z"), Some(0), "1950 is long over");
        assert_eq!(seconds(GENERALIZED_TIME, b"20000229120000Z"), Some(951_825_600));
        assert_eq!(seconds(GENERALIZED_TIME, b"99991231235959Z"), Some(253_402_300_799));
        assert_eq!(seconds(GENERALIZED_TIME, b"00000101000000Z"), Some(0));
        for wrong in
            [&b"20001301000000Z"[..], b"20000100000000Z", b"20000101240000Z", b"2000010100000"]
        {
            assert_eq!(seconds(GENERALIZED_TIME, wrong), None);
        }
        assert_eq!(seconds(0x02, b"700101000000Z"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_danger(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            static DER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
                certificate(|params| params.distinguished_name.push(DnType::CommonName, "alice"))
            });
            let mut der = DER.clone();
            let at = at.index(der.len());
            der[at] = byte;
            let _ = Certificate::parse(&der);
            let _ = Certificate::parse(&der[..cut.index(der.len())]);
        }
    }
}
