//! Finds `libdevice.10.bc`, the part of the CUDA toolkit that kernels with exp, log or erf are
//! linked with when they are compiled. Without it a run fails only after minutes, at its first
//! such kernel, so it is looked for before a model is loaded.

use std::path::{Path, PathBuf};

use crate::stage::error::StageError;

/// Where toolkits are looked for if `CUDA_PATH` is not set: `CUDA_ROOTS` of cubecl-llvm 0.11.3,
/// `src/nvptx/libdevice.rs`.
const ROOTS: [&str; 4] = ["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"];

/// The folder and the file inside a toolkit.
const FOLDER: &str = "nvvm/libdevice";
const FILE: &str = "libdevice.10.bc";

/// The file that burn will link kernels with.
///
/// # Errors
/// There is none where burn looks.
pub fn find() -> Result<PathBuf, StageError> {
    let cuda_path = std::env::var("CUDA_PATH").ok();
    find_in(cuda_path.as_deref().map(Path::new), &ROOTS.map(Path::new))
}

/// Looks where `cuda_root` and `libdevice_path` of cubecl-llvm 0.11.3 (`src/nvptx/libdevice.rs`)
/// look: in `CUDA_PATH` and nowhere else if it is set, otherwise in the first of `roots` that has
/// the folder.
fn find_in(cuda_path: Option<&Path>, roots: &[&Path]) -> Result<PathBuf, StageError> {
    let root = cuda_path
        .or_else(|| roots.iter().copied().find(|candidate| candidate.join(FOLDER).is_dir()));
    let file = root.map(|root| root.join(FOLDER).join(FILE));
    if let Some(file) = file.filter(|file| file.is_file()) {
        return Ok(file);
    }
    let place = match root {
        Some(root) if cuda_path.is_some() => {
            format!("`CUDA_PATH` is `{}`, which does not hold {FOLDER}/{FILE}", root.display())
        }
        Some(root) => format!("{} has the folder {FOLDER}, but not the file", root.display()),
        None => {
            let places: Vec<String> = roots.iter().map(|it| it.display().to_string()).collect();
            format!("there is no {FOLDER} in {}", places.join(", "))
        }
    };
    Err(StageError::Unavailable {
        what: format!("CUDA's {FILE}"),
        problem: format!(
            "{place}; install the CUDA toolkit, or run `pip install nvidia-cuda-nvcc-cu12`, and \
             set `CUDA_PATH` to the folder that holds `nvvm` (from pip: \
             `site-packages/nvidia/cuda_nvcc`)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a toolkit.
    fn toolkit(with_file: bool) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(FOLDER)).unwrap();
        if with_file {
            std::fs::write(root.path().join(FOLDER).join(FILE), "BC").unwrap();
        }
        root
    }

    #[test]
    fn a_toolkit_in_cuda_path_is_found_before_all_others() {
        let (named, usual) = (toolkit(true), toolkit(true));
        let found = find_in(Some(named.path()), &[usual.path()]).unwrap();
        assert!(found.starts_with(named.path()), "{}", found.display());
        let found = find_in(None, &[Path::new("/nowhere"), usual.path()]).unwrap();
        assert!(found.starts_with(usual.path()), "{}", found.display());
    }

    #[test]
    fn a_wrong_cuda_path_is_an_error_even_if_a_toolkit_is_installed() {
        let usual = toolkit(true);
        let error = find_in(Some(Path::new("/wrong")), &[usual.path()]).unwrap_err().to_string();
        assert!(error.contains("`CUDA_PATH` is `/wrong`"), "{error}");
    }

    #[test]
    fn without_a_toolkit_the_error_says_what_to_install_and_set() {
        let empty = toolkit(false);
        for roots in [&[Path::new("/nowhere")], &[empty.path()]] {
            let error = find_in(None, roots).unwrap_err().to_string();
            assert!(error.contains("pip install nvidia-cuda-nvcc-cu12"), "{error}");
            assert!(error.contains("set `CUDA_PATH`"), "{error}");
            assert!(error.contains(&roots[0].display().to_string()), "{error}");
        }
    }
}
