//! Inputs of the Hugging Face hub: `hub:owner/name@revision` is a model, and
//! `hub:datasets/owner/name@revision/path` a file of a data set.

use super::model::Input;

/// A name that the hub cannot have.
pub(super) struct WrongName<'a> {
    /// The part that is wrong.
    pub(super) part: &'a str,
    /// How to write it.
    pub(super) form: &'static str,
}

/// Reads what stands after `hub:`.
pub(super) fn read(name: &str) -> Result<Input, WrongName<'_>> {
    if let Some(name) = name.strip_prefix("datasets/") {
        let form =
            "`hub:datasets/owner/name@revision/path`, for instance with a revision of `main`";
        return data(name).map_err(|part| WrongName { part, form });
    }
    let (repository, revision) = name.split_once('@').unwrap_or((name, "main"));
    if !is_repository(repository) || !is_revision(revision) {
        let part = if is_repository(repository) { revision } else { repository };
        let form = "`hub:owner/name` or `hub:owner/name@revision`";
        return Err(WrongName { part, form });
    }
    let (repository, revision) = (repository.to_owned(), revision.to_owned());
    Ok(Input::Hub { repository, revision })
}

/// Reads `hub:datasets/owner/name@revision/path`.
///
/// # Errors
/// The part that is wrong.
pub fn hub_data(text: &str) -> Result<Input, &str> {
    data(text.strip_prefix("hub:datasets/").ok_or(text)?)
}

/// Splits `owner/name@revision/path`, or `owner/name/path`. The error is the part that is wrong.
fn data(name: &str) -> Result<Input, &str> {
    let (repository, rest) = match name.split_once('@') {
        Some(parts) => parts,
        None => {
            let end = name.match_indices('/').nth(1).map_or(name.len(), |(end, _)| end);
            (&name[..end], name.get(end + 1..).unwrap_or_default())
        }
    };
    let (revision, path) = match name.contains('@') {
        false => ("main", rest),
        true => {
            // `refs/convert/parquet` and `refs/pr/1` are revisions too.
            let parts = if rest.starts_with("refs/") { 2 } else { 0 };
            let end = rest.match_indices('/').nth(parts).map_or(rest.len(), |(end, _)| end);
            (&rest[..end], rest.get(end + 1..).unwrap_or_default())
        }
    };
    if !is_repository(repository) {
        return Err(repository);
    }
    if !is_revision(revision) {
        return Err(revision);
    }
    let is_path = path.len() <= 1_000 && path.split('/').all(is_file_name);
    if !is_path {
        return Err(if path.is_empty() { name } else { path });
    }
    let [repository, revision, path] = [repository, revision, path].map(str::to_owned);
    Ok(Input::HubData { repository, revision, path })
}

fn is_repository(text: &str) -> bool {
    text.split('/').count() <= 2 && text.split('/').all(is_hub_name)
}

fn is_revision(text: &str) -> bool {
    text.split('/').all(is_hub_name) && text.len() <= 200
}

/// A part of a path in a repository. Nothing in it leads elsewhere.
fn is_file_name(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('.')
        && part.len() <= 200
        && !part.contains(|it: char| it.is_control() || it == '\\')
}

/// Whether a part of a repository or revision is valid. It also becomes the name of a folder.
fn is_hub_name(part: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !part.is_empty() && !part.starts_with('.') && !part.starts_with('-') && part.bytes().all(fits)
}
