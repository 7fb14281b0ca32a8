//! With whom members may speak without protection: a list of addresses and networks.

use std::fmt;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::str::FromStr;
use std::time::Duration;

use super::{Connection, Tcp, Transport};
use crate::error::PeerError;

/// Addresses, as a list of networks. This machine itself is always one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// How many bits.
    bits: u8,
}

impl Networks {
    /// Whether nothing but this machine is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // What arrives over IPv4 at a socket of both kinds has its address written in the other one.
        let address = address.to_canonical();
        address.is_loopback() || self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = u32::from(ours) ^ u32::from(theirs);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = u128::from(ours) ^ u128::from(theirs);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Networks {
    type Err = String;

    /// A comma-separated list such as `10.0.0.0/8,192.168.7.1,fd00::/8`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither an address nor a network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            // Digits only: the standard parser would let a sign pass.
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= bits_max).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.0.iter().map(|network| format!("{}/{}", network.address, network.bits));
        f.write_str(&texts.collect::<Vec<_>>().join(","))
    }
}

/// Plain TCP, on this machine and within the networks that are named, and with nobody else.
#[derive(Clone, Debug, Default)]
pub struct PlainWithin(pub Networks);

impl PlainWithin {
    fn check(&self, address: IpAddr) -> io::Result<()> {
        match self.0.contains(address) {
            true => Ok(()),
            false => Err(PeerError::Unprotected(address.to_canonical()).into()),
        }
    }
}

impl Transport for PlainWithin {
    fn connect(&self, address: &str, timeout: Duration) -> io::Result<Connection> {
        Tcp::connect_where(address, timeout, |address| self.check(address.ip()))
            .and_then(Tcp::connection)
    }

    fn accept(&self, socket: TcpStream) -> io::Result<Connection> {
        self.check(socket.peer_addr()?.ip())?;
        Tcp::connection(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, address: &str) -> bool {
        list.parse::<Networks>().expect(list).contains(address.parse().expect(address))
    }

    #[test]
    fn this_machine_is_always_one_of_them() {
        for address in ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"] {
            assert!(contains("", address), "{address}");
        }
        for address in ["0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "::2"] {
            assert!(!contains("", address), "{address}");
        }
    }

    #[test]
    fn a_network_is_the_addresses_that_begin_like_it() {
        for (list, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("10.1.2.3/31", "10.1.2.2", "10.1.2.4"),
            ("0.0.0.0/0", "9.9.9.9", "fd00::1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "fd00::1", "10.0.0.1"),
            (" fd00::1 , 10.0.0.1/32,", "fd00::1", "fd00::2"),
        ] {
            assert!(contains(list, inside) && !contains(list, outside), "{list}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "a",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0.0/8/8",
            "a:1",
        ] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
        assert_eq!("10.0.0.0/8,::1".parse::<Networks>().unwrap().to_string(), "10.0.0.0/8,::1/128");
    }

    /// No address is needed that is reached: it is refused before.
    #[test]
    fn nobody_else_is_spoken_to() {
        let error = PlainWithin::default().connect("192.0.2.1:1", Duration::ZERO).unwrap_err();
        let unprotected = PeerError::Unprotected([192, 0, 2, 1].into());
        assert_eq!(PeerError::from_io(&error), unprotected);
    }
}
