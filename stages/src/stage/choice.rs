//! Enums for parameters that are one of a few words.

/// Declares an enum whose variants are the words of a
/// [`ParamKind::Choice`](crate::stage::params::ParamKind::Choice), with:
///
/// - `WORDS`: the words, for the parameter table;
/// - `of(params, name)`: the variant that a checked parameter names.
///
/// A new word needs a variant, so the compiler finds every `match` that has to handle it.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            pub fn of(params: &$crate::stage::params::Params, name: &str) -> $name {
                let word = params.text(name);
                let variants = [$(($word, $name::$variant)),+];
                match variants.into_iter().find(|(known, _)| *known == word) {
                    Some((_, variant)) => variant,
                    // `Params` are checked against `WORDS` before a stage sees them.
                    None => panic!("parameter `{name}` is `{word}`, which the table lacks"),
                }
            }
        }
    };
}

pub(crate) use choice;
