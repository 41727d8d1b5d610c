//! A compact form of values, for files that are read as a whole: numbers in little-endian order, texts
//! and lists after their size.

/// Writes the size of a text or a list; `None` if it is too large for this form.
pub fn put_size(size: usize, bytes: &mut Vec<u8>) -> Option<()> {
    bytes.extend(u32::try_from(size).ok()?.to_le_bytes());
    Some(())
}

pub fn put_bytes(part: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    put_size(part.len(), bytes)?;
    bytes.extend(part);
    Some(())
}

pub fn put_text(text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    put_bytes(text.as_bytes(), bytes)
}

/// The bytes that have not been read yet. Whatever they do not hold is `None`.
pub struct Packed<'b>(pub &'b [u8]);

impl<'b> Packed<'b> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take<const N: usize>(&mut self) -> Option<&'b [u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(head)
    }

    pub fn number(&mut self) -> Option<u64> {
        self.take().map(|bytes| u64::from_le_bytes(*bytes))
    }

    pub fn size(&mut self) -> Option<usize> {
        self.take().map(|bytes| u32::from_le_bytes(*bytes) as usize)
    }

    pub fn bytes(&mut self) -> Option<&'b [u8]> {
        let size = self.size()?;
        let (part, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(part)
    }

    pub fn text(&mut self) -> Option<&'b str> {
        str::from_utf8(self.bytes()?).ok()
    }

    /// A list of what `read` reads.
    pub fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let size = self.size()?;
        let mut found = Vec::with_capacity(size.min(self.0.len()));
        for _ in 0..size {
            found.push(read(self)?);
        }
        Some(found)
    }
}
