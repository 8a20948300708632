"""Certificates for tests, made here: signed by themselves, or by an authority that has signed another one between."""

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("example.com", "127.0.0.1")
_PEM = serialization.Encoding.PEM


class _Signer(NamedTuple):
    name: x509.Name
    key: ec.EllipticCurvePrivateKey


def certify(
    directory: Path, *names: str, since: float = -1, days: float = 1, chain: bool = False, whole: bool = True
) -> None:
    """Write ``fullchain.pem`` and ``privkey.pem``, named as certbot does, and ``root.pem``, for whoever is to trust them.

    Args:
        directory: Where.
        names: Hosts and addresses; example.com and 127.0.0.1 if there are none.
        since: From when on it is valid, in days from now.
        days: Until when.
        chain: Signed by an authority that an authority has signed, and not by itself.
        whole: The one between is in fullchain.pem.
    """
    leaf = _signer("example.com")
    if not chain:
        own = _sign(leaf, leaf, names or NAMES, since, days)
        chained, root = [own], own
    else:
        top, middle = _signer("Root"), _signer("Between")
        between = _sign(middle, top, (), since, days)
        chained, root = [_sign(leaf, middle, names or NAMES, since, days), between], _sign(top, top, (), since, days)
    (directory / "root.pem").write_bytes(root.public_bytes(_PEM))
    shown = chained if whole else chained[:1]
    (directory / "fullchain.pem").write_bytes(b"".join(one.public_bytes(_PEM) for one in shown))
    secret = leaf.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "privkey.pem").write_bytes(secret)


def _signer(name: str) -> _Signer:
    return _Signer(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), ec.generate_private_key(ec.SECP256R1()))


def _sign(whose: _Signer, by: _Signer, names: tuple[str, ...], since: float, days: float) -> x509.Certificate:
    """Sign a certificate; one without names is an authority's, one that signs itself is both."""
    now = datetime.datetime.now(datetime.timezone.utc)
    is_authority = not names or whose is by
    usage = {field: False for field in ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")}
    usage |= {"digital_signature": True, "key_cert_sign": is_authority, "crl_sign": False}
    builder = (
        x509.CertificateBuilder(by.name, whose.name, whose.key.public_key(), x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=since))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage, encipher_only=False, decipher_only=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(whose.key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_name(name) for name in names]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(by.key, hashes.SHA256())


def _name(name: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
