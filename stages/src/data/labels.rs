//! Label names and the small numbers that stand for them while a file streams by.

use std::collections::BTreeMap;

/// More different labels than this, and the field named as the label holds something else.
pub const LABEL_LIMIT: usize = 4096;

/// Numbers in the order in which the names were met.
#[derive(Clone, Debug, Default)]
pub struct LabelTable {
    numbers: BTreeMap<String, u16>,
}

impl LabelTable {
    /// The number of a label, a new one if it was not met before; an error beyond
    /// [`LABEL_LIMIT`] says what may be wrong.
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

    /// The names in alphabetical order, `also` among them, and by number each name's place
    /// there: what is computed by place does not depend on the order in which names were met.
    pub fn alphabetical<'a>(&'a self, also: &'a str) -> (Vec<&'a str>, Vec<u16>) {
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        if let Err(place) = names.binary_search(&also) {
            names.insert(place, also);
        }
        let mut places = vec![0; self.len()];
        for (place, name) in (0..).zip(&names) {
            if let Some(number) = self.get(name) {
                places[usize::from(number)] = place;
            }
        }
        (names, places)
    }
}
