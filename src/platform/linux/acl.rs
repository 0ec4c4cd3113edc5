//! What an access control list says of a file, where the mode does not tell the whole.
//!
//! With such a list the mode's bits for the group are its mask: the most that anybody named in it may do. A file that
//! systemd hands over is root's and names one user, the service's, as its reader; by its mode alone its group could
//! read it.

/// The attribute that holds the list.
pub(super) const ATTRIBUTE: &str = "system.posix_acl_access";

/// The only version there is.
const VERSION: u32 = 2;

/// Kinds of entries, as the kernel numbers them.
const USER: u16 = 0x02;
const GROUP_OF_FILE: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What others than root and this user may do, as the bits of one digit of a mode. Nothing where it is no such list.
pub(super) fn of_others(list: &[u8], us: u32) -> Option<u32> {
    let (version, entries) = list.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let (mut masked, mut open, mut mask) = (0, 0, 0o7);
    for entry in entries.chunks_exact(8) {
        let kind = u16::from_le_bytes([entry[0], entry[1]]);
        let may = u32::from(u16::from_le_bytes([entry[2], entry[3]]));
        let who = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        match kind {
            USER if who == us || who == 0 => {}
            USER | GROUP | GROUP_OF_FILE => masked |= may,
            MASK => mask = may,
            OTHER => open |= may,
            _ => {}
        }
    }
    Some(masked & mask | open)
}

#[cfg(test)]
pub(in crate::platform) mod tests {
    use super::*;

    /// A list with the owner's entry and these.
    pub fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (kind, may, who) in [&[(1, 0o4, u32::MAX)], entries].concat() {
            bytes.extend([kind.to_le_bytes(), may.to_le_bytes()].concat());
            bytes.extend(who.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn only_what_others_may_do_counts() {
        let none = u32::MAX;
        for (name, entries, expected) in [
            (
                "as systemd hands it over",
                vec![(USER, 4, 77), (GROUP_OF_FILE, 0, none), (MASK, 4, none), (OTHER, 0, none)],
                0,
            ),
            (
                "another reader",
                vec![(USER, 4, 78), (GROUP_OF_FILE, 0, none), (MASK, 4, none), (OTHER, 0, none)],
                4,
            ),
            ("one whom the mask stops", vec![(USER, 6, 78), (MASK, 4, none), (OTHER, 0, none)], 4),
            (
                "the file's group",
                vec![(USER, 4, 77), (GROUP_OF_FILE, 4, none), (MASK, 4, none), (OTHER, 0, none)],
                4,
            ),
            ("another group", vec![(GROUP, 2, 5), (MASK, 6, none), (OTHER, 0, none)], 2),
            ("everybody", vec![(USER, 4, 77), (MASK, 0, none), (OTHER, 4, none)], 4),
        ] {
            assert_eq!(of_others(&list(&entries), 77), Some(expected), "{name}");
        }
        for bad in [&b""[..], &[3, 0, 0, 0], &[2, 0, 0, 0, 1]] {
            assert_eq!(of_others(bad, 77), None);
        }
    }
}
