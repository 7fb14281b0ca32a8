//! Another name of the same size, in HPACK's Huffman code (RFC 7541, section 5.2 and appendix B).
//!
//! A name of N symbols in M bytes is to become an authority of N symbols in M bytes. Zeros have the
//! shortest code, five bits, so N of them fit and leave bytes over. A tilde has thirteen, so each one
//! in the place of a zero takes up one byte more, exactly.

/// How many codes there are of each length in bits, from 0 to 30.
///
/// This is all one needs to tell where a symbol ends, because the code is canonical: the codes of one
/// length are consecutive numbers, and those of the next length follow on them, a bit longer.
const CODES: [u32; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];

/// A symbol that ends a string where no string may end: the last code, thirty ones.
const END: u32 = (1 << 30) - 1;

/// `0`, whose code is all zeros, and `~`. Both may be in an authority.
const ZERO_BITS: usize = 5;
const TILDE_BITS: usize = 13;
const TILDE: u32 = 0x1ffd;

/// Overwrites a string by one of tildes and zeros that has as many symbols and as many bytes. A string
/// that is not in the code stays as it is, as does one whose codes are longer than those of tildes;
/// letters, digits and the signs of a URL have shorter ones.
pub(super) fn overwrite(coded: &mut [u8]) {
    let Some(symbols) = symbols(coded) else { return };
    let shortest = (ZERO_BITS * symbols).div_ceil(8);
    assert!(shortest <= coded.len(), "no code is shorter than that of zero");
    let tildes = coded.len() - shortest;
    if tildes > symbols {
        return;
    }
    coded.fill(0);
    for at in (0..tildes).map(|tilde| tilde * TILDE_BITS) {
        // Thirteen bits from any bit of a byte on touch three bytes at most.
        let [_, bits @ ..] = (TILDE << (24 - TILDE_BITS - at % 8)).to_be_bytes();
        for (byte, bits) in coded[at / 8..].iter_mut().zip(bits) {
            *byte |= bits;
        }
    }
    // What is left of the last byte is filled with ones.
    let left = 8 * coded.len() - TILDE_BITS * tildes - ZERO_BITS * (symbols - tildes);
    assert!(left < 8, "the tildes take up all bytes");
    if let Some(last) = coded.last_mut() {
        *last |= (1 << left) - 1;
    }
}

/// How many symbols a string has, if it is one.
fn symbols(coded: &[u8]) -> Option<usize> {
    let mut symbols = 0;
    // The bits of the symbol under way, how many they are, and the first code of that length.
    let (mut bits, mut length, mut first) = (0, 0, 0);
    for byte in coded {
        for shift in (0..8).rev() {
            bits = bits << 1 | u32::from(byte >> shift & 1);
            first = (first + CODES[length]) << 1;
            length += 1;
            if bits - first < CODES[length] {
                if bits == END {
                    return None;
                }
                symbols += 1;
                (bits, length, first) = (0, 0, 0);
            }
        }
    }
    // The last byte is filled with ones, fewer than eight.
    let filled = length < 8 && bits == (1 << length) - 1;
    filled.then_some(symbols)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The length of each symbol's code, as appendix B lists them.
    const LENGTHS: [u8; 257] = [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30,
        28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
        5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5,
        7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22,
        22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23,
        22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22,
        21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26,
        26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
        24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27,
        27, 28, 27, 27, 27, 27, 27, 26, 30,
    ];

    /// Each symbol's code: those of a length are consecutive, in the order of the symbols.
    const SYMBOLS: [u32; LENGTHS.len()] = {
        let mut codes = [0; LENGTHS.len()];
        let (mut next, mut length) = (0, 1);
        while length <= 30 {
            next <<= 1;
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] == length {
                    codes[symbol] = next;
                    next += 1;
                }
                symbol += 1;
            }
            length += 1;
        }
        codes
    };

    fn bits(symbol: u8) -> String {
        let symbol = usize::from(symbol);
        format!("{:0width$b}", SYMBOLS[symbol], width = usize::from(LENGTHS[symbol]))
    }

    /// A string in the code.
    pub(in super::super) fn encode(text: &[u8]) -> Vec<u8> {
        let mut all: String = text.iter().copied().map(bits).collect();
        all.extend(std::iter::repeat_n('1', all.len().next_multiple_of(8) - all.len()));
        let byte = |at| u8::from_str_radix(&all[at..at + 8], 2).expect("eight bits");
        (0..all.len()).step_by(8).map(byte).collect()
    }

    fn overwritten(text: &[u8]) -> Vec<u8> {
        let mut coded = encode(text);
        overwrite(&mut coded);
        coded
    }

    /// The strings of appendix C, with what they are encoded as there.
    #[test]
    fn the_examples_of_the_rfc() {
        for (text, code) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            ("private", "aec3771a4b"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
            ("307", "640eff"),
            ("gzip", "9bd9ab"),
        ] {
            let coded = encode(text.as_bytes());
            let digits: String = coded.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digits, code, "{text}");
            assert_eq!(symbols(&coded), Some(text.len()), "{text}");
        }
    }

    #[test]
    fn the_lengths_are_those_of_the_codes() {
        for (length, count) in CODES.into_iter().enumerate() {
            let have = LENGTHS.iter().filter(|other| usize::from(**other) == length).count();
            assert_eq!(have, count as usize, "codes of {length} bits");
        }
        let (zero, tilde) = (usize::from(b'0'), usize::from(b'~'));
        assert_eq!((SYMBOLS[zero], usize::from(LENGTHS[zero])), (0, ZERO_BITS));
        assert_eq!((SYMBOLS[tilde], usize::from(LENGTHS[tilde])), (TILDE, TILDE_BITS));
        assert_eq!(SYMBOLS[256], END);
    }

    #[test]
    fn what_is_overwritten_is_an_authority() {
        // Fourteen symbols in ten bytes, where fourteen zeros take nine.
        assert_eq!(encode(b"127.0.0.1:2379").len(), 10);
        assert_eq!(overwritten(b"127.0.0.1:2379"), encode(b"~0000000000000"));
        for text in ["~", "0", "~0", "~~~~00000000"] {
            text.parse::<http::uri::Authority>().expect(text);
        }
    }

    #[test]
    fn what_cannot_be_overwritten_stays() {
        for coded in [
            // A whole byte is filled, and one not with ones.
            &[0xff][..],
            &[0x00],
            // The symbol that ends.
            &[0xff; 4],
            // Longer codes than that of the tilde.
            &encode(b"{{{{{{{{"),
            &[],
        ] {
            let mut same = coded.to_vec();
            overwrite(&mut same);
            assert_eq!(same, coded);
        }
    }

    proptest! {
        #[test]
        fn both_lengths_stay(text in "[ -~]{1,200}") {
            let name = overwritten(text.as_bytes());
            let tildes = name.len() - (5 * text.len()).div_ceil(8);
            prop_assume!(tildes <= text.len());
            let expected = [vec![b'~'; tildes], vec![b'0'; text.len() - tildes]].concat();
            prop_assert_eq!(name, encode(&expected));
        }

        #[test]
        fn any_bytes_are_cut(coded: Vec<u8>) {
            let mut once = coded.clone();
            overwrite(&mut once);
            prop_assert_eq!(once.len(), coded.len());
            prop_assert_eq!(symbols(&once), symbols(&coded));
        }
    }
}
