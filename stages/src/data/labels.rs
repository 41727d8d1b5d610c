//! Numbers label names while a file is read row by row, so that rows can refer to labels by
//! number.

use std::collections::BTreeMap;

/// The most distinct labels that a file may have. With more, the label field most likely holds
/// something else.
pub const LABEL_LIMIT: usize = 4096;

/// Label names, numbered from 0 in the order in which they first occur.
#[derive(Clone, Debug, Default)]
pub struct LabelTable {
    numbers: BTreeMap<String, u16>,
}

impl LabelTable {
    /// The number of a label; a new label gets the next number.
    ///
    /// # Errors
    /// More than [`LABEL_LIMIT`] labels; the message says what may be wrong.
    pub fn number(&mut self, name: &str) -> Result<u16, String> {
        if let Some(&number) = self.numbers.get(name) {
            return Ok(number);
        }
        if self.numbers.len() == LABEL_LIMIT {
            return Err(format!(
                "label `{name}` is the {}th different label: does this field hold labels?",
                LABEL_LIMIT + 1
            ));
        }
        let number = self.numbers.len() as u16;
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }

    pub fn get(&self, name: &str) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Names with their numbers, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u16)> {
        self.numbers.iter().map(|(name, &number)| (name.as_str(), number))
    }

    /// The names in alphabetical order, `also` included, and for each number the position of its
    /// name in that order. Results computed by position do not depend on the order of the rows.
    pub fn alphabetical<'a>(&'a self, also: Option<&'a str>) -> (Vec<&'a str>, Vec<u16>) {
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        if let Some(also) = also
            && let Err(position) = names.binary_search(&also)
        {
            names.insert(position, also);
        }
        let mut positions = vec![0; self.len()];
        for (position, name) in (0..).zip(&names) {
            if let Some(number) = self.get(name) {
                positions[usize::from(number)] = position;
            }
        }
        (names, positions)
    }
}
