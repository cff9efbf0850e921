//! Files that are no safetensors files, but what a student is likely to have.

use std::fmt;

/// A kind of file that holds tensors in another format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// `torch.save`: a zip archive with a pickle in it, or the older pickle with a number of its own in front.
    PyTorch,
    /// `np.savez`: a zip archive of arrays.
    Npz,
    /// `np.save`: one array.
    Npy,
    /// `pickle.dump`.
    Pickle,
}

/// What `torch.save` began its files with before they were archives: a pickle of the number
/// 0x1950a86a20f9469cfc6c.
const OLD_PYTORCH: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

impl Foreign {
    /// What a file is by its first bytes, and an archive by the names in it.
    pub(super) fn of(file: &[u8]) -> Option<Self> {
        // The ninth byte of a safetensors file opens its header: then it is one, and damaged.
        if file.get(8) == Some(&b'{') {
            return None;
        }
        match file {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Self::Npy),
            [b'P', b'K', 3, 4, ..] => {
                let has = |name: &[u8]| file.windows(name.len()).any(|part| part == name);
                match (has(b"/data.pkl"), has(b".npy")) {
                    (true, _) => Some(Self::PyTorch),
                    (false, true) => Some(Self::Npz),
                    (false, false) => None,
                }
            }
            _ if file.starts_with(OLD_PYTORCH) => Some(Self::PyTorch),
            // Protocols 2 to 5 begin with their number and end with a full stop.
            [0x80, 2..=5, .., b'.'] => Some(Self::Pickle),
            _ => None,
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PyTorch => "a PyTorch file (torch.save)",
            Self::Npz => "a NumPy archive (np.savez)",
            Self::Npy => "a NumPy array (np.save)",
            Self::Pickle => "a Python pickle",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_first_bytes_say() {
        let old = [OLD_PYTORCH, b"."].concat();
        for (bytes, what) in [
            (
                &b"PK\x03\x04........mine/data.pkl..."[..],
                Some(Foreign::PyTorch),
            ),
            (b"PK\x03\x04........X.npy...", Some(Foreign::Npz)),
            (b"PK\x03\x04........words.txt...", None),
            (&old, Some(Foreign::PyTorch)),
            (b"\x80\x04\x95......x", None), // cut off
            (b"\x80\x02}q\x00.", Some(Foreign::Pickle)),
            (b"\x80\x05\x95\x01\0\0\0\0\0\0\0N.", Some(Foreign::Pickle)),
            (b"\x80\x06}q\x00.", None),
            (b"\x93NUMPY\x01\0", Some(Foreign::Npy)),
            (b"\x93NUMP", None),
            // A header of 0x480 bytes.
            (b"\x80\x04\0\0\0\0\0\0{\"X\":.", None),
            (b"", None),
        ] {
            assert_eq!(Foreign::of(bytes), what, "{bytes:?}");
        }
    }
}
