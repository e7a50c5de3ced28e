//! Reading DER: just what a request for a certificate and a certificate's dates need, and strictly.

/// Tags of what is read here.
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
/// Context-specific, constructed, number 0.
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// One value with its tag and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// With tag and length.
    pub(crate) whole: &'a [u8],
}

/// Values one after another.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next value, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Value<'a>> {
        let value = self.next()?;
        (value.tag == tag).then_some(value)
    }

    /// The next value. Lengths of at most 65,535 in their shortest form; tags of one byte.
    pub(crate) fn next(&mut self) -> Option<Value<'a>> {
        let (&tag, &first) = (self.rest.first()?, self.rest.get(1)?);
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (header, length) = match first {
            0..=0x7f => (2, usize::from(first)),
            0x81 => (3, usize::from(*self.rest.get(2).filter(|&&length| length > 0x7f)?)),
            0x82 => {
                let high = *self.rest.get(2).filter(|&&high| high > 0)?;
                (4, usize::from(u16::from_be_bytes([high, *self.rest.get(3)?])))
            }
            _ => return None,
        };
        let whole = self.rest.get(..header + length)?;
        self.rest = &self.rest[whole.len()..];
        Some(Value { tag, content: &whole[header..], whole })
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Reader;

    fn lengths(bytes: &[u8]) -> Option<usize> {
        Reader::new(bytes).next().map(|value| value.content.len())
    }

    #[test]
    fn lengths_have_one_form() {
        assert_eq!(lengths(&[2, 0]), Some(0));
        assert_eq!(lengths(&[&[4, 0x7f][..], &[1; 0x7f]].concat()), Some(0x7f));
        assert_eq!(lengths(&[&[4, 0x81, 0x80][..], &[1; 0x80]].concat()), Some(0x80));
        assert_eq!(lengths(&[&[4, 0x82, 1, 0][..], &[1; 256]].concat()), Some(256));
        assert_eq!(lengths(&[&[4, 0x81, 0x7f][..], &[1; 0x7f]].concat()), None);
        assert_eq!(lengths(&[&[4, 0x82, 0, 0x80][..], &[1; 0x80]].concat()), None);
        assert_eq!(lengths(&[4, 0x80, 0, 0]), None);
        assert_eq!(lengths(&[4, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(lengths(&[0x1f, 1, 1]), None);
        assert_eq!(lengths(&[4, 2, 1]), None);
        assert_eq!(lengths(&[4]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::new(&bytes);
            let mut read = 0;
            while let Some(value) = reader.next() {
                read += value.whole.len();
            }
            prop_assert!(read <= bytes.len());
        }
    }
}
