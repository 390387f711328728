//! The networks that the operator does not connect to. An IPv6 address can stand for an IPv4 address of such a network: a
//! gateway or a tunnel of the node translates it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// The networks, with one spelling for each IPv4 network.
#[derive(Debug, Default)]
pub struct DeniedNetworks(Vec<IpNet>);

impl DeniedNetworks {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into_iter().map(canonical).collect())
    }

    /// Whether the address, or an IPv4 address that it stands for, is in one of the networks. An unspecified address always
    /// is: the kernel means the Pod of the operator by it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let listed = |address: IpAddr| self.0.iter().any(|network| network.contains(&address));
        let translated = match address {
            IpAddr::V4(_) => Vec::new(),
            IpAddr::V6(address) => embedded(address),
        };
        address.is_unspecified() || listed(address) || translated.into_iter().any(|address| listed(address.into()))
    }
}

fn canonical(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.network().to_ipv4_mapped() {
            Some(address) => Ipv4Net::new(address, v6.prefix_len() - 96).map_or(network, IpNet::V4),
            None => network,
        },
        _ => network,
    }
}

/// The IPv4 addresses that an IPv6 address can stand for. A network operator can choose any other prefix for its own gateway
/// (RFC 6052, network-specific prefixes), which no list knows.
fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let bits = address.to_bits();
    let v4 = |bits: u128| Ipv4Addr::from_bits(bits as u32);
    let within = |prefix: u128, length: u32| (bits ^ prefix) >> (128 - length) == 0;
    let prefix = |text: u128, length: u32| text << (128 - length);
    let last = v4(bits);
    let mut found = Vec::new();
    // IPv4-compatible (RFC 4291), without the addresses :: and ::1 of IPv6 itself.
    if within(0, 96) && bits > 1 {
        found.push(last);
    }
    // Translated (RFC 2765), and NAT64 by the well-known prefix (RFC 6052).
    if within(0xffff << 48, 96) || within(prefix(0x0064_ff9b, 32), 96) {
        found.push(last);
    }
    // NAT64 by a local prefix (RFC 8215): its length is not known. Bits 64 to 71 are no part of the address (RFC 6052).
    if within(prefix(0x0064_ff9b_0001, 48), 48) {
        found.extend([
            last,
            v4(bits >> 24),
            v4((bits >> 40 & 0xff00_0000) | (bits >> 32 & 0x00ff_ffff)),
            v4((bits >> 48 & 0xffff_0000) | (bits >> 40 & 0x0000_ffff)),
        ]);
    }
    // 6to4 (RFC 3056).
    if within(prefix(0x2002, 16), 16) {
        found.push(v4(bits >> 80));
    }
    // Teredo (RFC 4380): the server, and the client with all bits inverted.
    if within(prefix(0x2001_0000, 32), 32) {
        found.extend([v4(bits >> 64), v4(!bits)]);
    }
    // ISATAP (RFC 5214), in any network.
    if bits >> 32 & 0xfdff_ffff == 0x5efe {
        found.push(last);
    }
    // The bits that another length of the prefix leaves empty.
    found.retain(|address| !address.is_unspecified());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Limits;

    fn networks(list: &str) -> DeniedNetworks {
        DeniedNetworks::new(list.split_terminator(',').map(|network| network.parse().unwrap()).collect())
    }

    /// Each spelling of 169.254.169.254 (a9fe:a9fe).
    #[rustfmt::skip]
    #[test]
    fn ipv4_network_is_denied_in_each_spelling() {
        let table = [
            ("itself",               "169.254.169.254"),
            ("mapped",               "::ffff:169.254.169.254"),
            ("mapped, hexadecimal",  "::ffff:a9fe:a9fe"),
            ("compatible",           "::169.254.169.254"),
            ("translated",           "::ffff:0:169.254.169.254"),
            ("NAT64",                "64:ff9b::169.254.169.254"),
            ("NAT64, local /96",     "64:ff9b:1::169.254.169.254"),
            ("NAT64, local /48",     "64:ff9b:1:a9fe:a9:fe00::"),
            ("NAT64, local /56",     "64:ff9b:1:42a9:fe:a9fe::"),
            ("NAT64, local /64",     "64:ff9b:1:42:a9:fea9:fe00:0"),
            ("6to4",                 "2002:a9fe:a9fe::1"),
            ("Teredo server",        "2001:0:a9fe:a9fe::1"),
            ("Teredo client",        "2001:0:c000:201:0:0:5601:5601"),
            ("ISATAP",               "2001:db8::5efe:169.254.169.254"),
            ("ISATAP, global",       "2001:db8::200:5efe:169.254.169.254"),
        ];
        let denied = networks("169.254.169.254/32");
        let open = networks("169.254.169.253/32");
        for (spelling, address) in table {
            assert!(denied.contains(address.parse().unwrap()), "{spelling}: {address}");
            assert!(!open.contains(address.parse().unwrap()), "{spelling}: {address} is another address");
        }
    }

    #[rustfmt::skip]
    #[test]
    fn contains_of_each_kind_of_address() {
        let table = [
            // The default.
            (Limits::DENIED, "169.254.1.2",              true),
            (Limits::DENIED, "64:ff9b::a9fe:1",          true),
            (Limits::DENIED, "fe80::1",                  true),
            (Limits::DENIED, "fd00:ec2::254",            true),
            (Limits::DENIED, "fd00:ec2::253",            false),
            (Limits::DENIED, "fd20:ce::254",             true),
            (Limits::DENIED, "100.100.100.200",          true),
            (Limits::DENIED, "168.63.129.16",            true),
            (Limits::DENIED, "::ffff:168.63.129.16",     true),
            (Limits::DENIED, "127.0.0.1",                false),
            (Limits::DENIED, "::1",                      false),
            (Limits::DENIED, "10.0.0.1",                 false),
            (Limits::DENIED, "fd00::1",                  false),
            (Limits::DENIED, "2001:db8::a9fe:a9fe",      false),
            // Loopback: IPv6 has its own.
            ("127.0.0.0/8",  "127.1.2.3",                true),
            ("127.0.0.0/8",  "::ffff:127.0.0.1",         true),
            ("127.0.0.0/8",  "64:ff9b::127.0.0.1",       true),
            ("127.0.0.0/8",  "2002:7f00:1::",            true),
            ("127.0.0.0/8",  "::1",                      false),
            ("::1/128",      "::1",                      true),
            ("::1/128",      "127.0.0.1",                false),
            // A network in the spelling of IPv6.
            ("::ffff:10.0.0.0/104", "10.1.2.3",          true),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3",   true),
            ("::ffff:10.0.0.0/104", "11.1.2.3",          false),
            // A network-specific prefix of a gateway is to be listed.
            ("10.0.0.0/8",             "2001:db8:64::10.0.0.1", false),
            ("2001:db8:64::a00:0/104", "2001:db8:64::10.0.0.1", true),
            // Whatever the list.
            ("",             "0.0.0.0",                  true),
            ("",             "::",                       true),
            ("",             "::ffff:0.0.0.0",           true),
            ("",             "64:ff9b::",                false),
            ("",             "::1",                      false),
            ("",             "169.254.169.254",          false),
        ];
        for (list, address, expected) in table {
            assert_eq!(networks(list).contains(address.parse().unwrap()), expected, "{address} in {list:?}");
        }
    }
}
