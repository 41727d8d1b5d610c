//! The seal of a report's file: a digest of the page, in its head. By this `pipe report` knows that it
//! wrote the file itself and that nobody has edited it since, so that it may replace it.

use crate::files::digest::Digest;

const BEGINS: &str = "<meta name=\"pipe-report\" content=\"";
const ENDS: &str = "\">";
/// The element that follows the seal.
const NEXT: &str = "<title>";

/// The page with its seal.
pub fn sealed(page: &str) -> String {
    let Some((before, after)) = page.split_once(NEXT) else { return page.to_owned() };
    format!("{before}{BEGINS}{}{ENDS}{NEXT}{after}", Digest::of_bytes(page.as_bytes()))
}

/// Whether the text is a page with its seal, unchanged.
pub fn is_sealed(text: &str) -> bool {
    let parts = text.split_once(BEGINS).and_then(|(before, rest)| {
        let (digest, after) = rest.split_once(ENDS)?;
        Some((format!("{before}{after}"), digest))
    });
    parts.is_some_and(|(page, digest)| digest == Digest::of_bytes(page.as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::{is_sealed, sealed};

    #[test]
    fn a_page_is_known_until_it_is_edited() {
        let page = "<head><title>one</title></head><p>one</p>\n";
        let whole = sealed(page);
        assert!(is_sealed(&whole), "{whole}");
        let edited = [whole.replace("<p>one", "<p>two"), format!("{whole}mine")];
        for other in ["", "mine", page, &edited[0], &edited[1]] {
            assert!(!is_sealed(other), "{other}");
        }
    }
}
