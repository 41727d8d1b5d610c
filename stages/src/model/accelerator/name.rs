//! What `--device` may say. The command line and the stages share it, with or without the model.

use std::fmt;
use std::str::FromStr;

/// A device by the name that users give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// CUDA, else a hardware device with Vulkan, else the CPU.
    Auto,
    Cpu,
    /// A CUDA device, by default the first.
    Cuda(Option<u16>),
    /// A device with Vulkan, by default the first.
    Vulkan(Option<u16>),
}

/// The message for anything else.
pub const EXPECTED: &str = "expected `auto`, `cpu`, `cuda`, `cuda:N`, `vulkan` or `vulkan:N`";

impl DeviceName {
    /// Whether the user picked one of several devices by its number.
    pub fn has_number(self) -> bool {
        matches!(self, DeviceName::Cuda(Some(_)) | DeviceName::Vulkan(Some(_)))
    }
}

impl FromStr for DeviceName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<DeviceName, &'static str> {
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number.parse::<u16>().map_err(|_| EXPECTED)?)),
            None => (text, None),
        };
        match (kind, number) {
            ("auto", None) => Ok(DeviceName::Auto),
            ("cpu", None) => Ok(DeviceName::Cpu),
            ("cuda", number) => Ok(DeviceName::Cuda(number)),
            ("vulkan", number) => Ok(DeviceName::Vulkan(number)),
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Auto => write!(f, "auto"),
            DeviceName::Cpu => write!(f, "cpu"),
            DeviceName::Cuda(None) => write!(f, "cuda"),
            DeviceName::Cuda(Some(number)) => write!(f, "cuda:{number}"),
            DeviceName::Vulkan(None) => write!(f, "vulkan"),
            DeviceName::Vulkan(Some(number)) => write!(f, "vulkan:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for text in ["auto", "cpu", "cuda", "cuda:0", "cuda:17", "vulkan", "vulkan:1"] {
            let name: DeviceName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.has_number(), text.contains(':'), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong =
            ["", "gpu", "Cuda", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:1", "vulkan:1:2"];
        for text in wrong {
            assert_eq!(text.parse::<DeviceName>(), Err(EXPECTED), "{text}");
        }
    }
}
