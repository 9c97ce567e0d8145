"""`Security`: whether connections are encrypted, and with which certificates.

What lives here: the class, how it travels as plain data, and the rules by which it chooses between ``tcp`` and ``tls``.
What this file must never know: sockets, who listens or connects.

Nothing heavy is imported before somebody asks for certificates.
"""

from __future__ import annotations

import os
from datetime import UTC
from typing import TYPE_CHECKING, Any

from windrow import config
from windrow.addressing import is_loopback
from windrow.errors import WrongCertificate

if TYPE_CHECKING:
    import ssl

__all__ = ["ROLES", "Security", "checked", "chosen_scheme", "with_certificates"]

ROLES = ("client", "scheduler", "worker")
VALID_DAYS = 365

_KEYS: dict[str, str] = {
    "tls_ca_file": "ca-file",
    **{f"tls_{role}_{what}": f"{role}.{what}" for role in ROLES for what in ("cert", "key")},
    "tls_ciphers": "ciphers",
    "tls_min_version": "min-version",
    "tls_max_version": "max-version",
}
_VERSIONS = ("tls_min_version", "tls_max_version")
_MATERIAL = tuple(name for name in _KEYS if name == "tls_ca_file" or name.endswith(("_cert", "_key")))
_ATTRIBUTES = (*_KEYS, "extra_conn_args")
_NUMBERS = {"1.2": 0x0303, "1.3": 0x0304}
"""Versions as they are configured, and as `ssl.TLSVersion` numbers them."""


class Security:
    """Whether connections are encrypted, and with which certificates.

    What is not given is configured (``distributed.comm.tls.*``). Both sides of a connection present a certificate that
    the authority has signed; names of hosts are not checked. The cluster's secret is proved besides, inside of TLS.

    Parameters
    ----------
    require_encryption
        Refuse connections that are not encrypted; False: do without on whatever address. By default as configured
        (``distributed.comm.require-encryption``), else True if anything else is given.
    **kwargs
        ``tls_ca_file``; ``tls_client_cert``, ``tls_client_key``, and the same of ``scheduler`` and ``worker``: each the
        path of a file, or its PEM text (a key may be in its certificate's file); ``tls_ciphers``, as OpenSSL writes
        them; ``tls_min_version`` (1.2 by default) and ``tls_max_version``, of `ssl.TLSVersion`; ``extra_conn_args``,
        which is kept.

    Raises
    ------
    TypeError
        An argument is unknown.
    ValueError
        A version is neither 1.2 nor 1.3.

    Examples
    --------
    >>> Security(tls_ca_file="ca.pem", tls_client_cert="me.pem")
    Security(require_encryption=True, tls_ca_file='ca.pem', tls_client_cert='me.pem')
    """

    __slots__ = (*_ATTRIBUTES, "_contexts", "refuses_encryption", "require_encryption")

    extra_conn_args: dict[str, Any]
    require_encryption: bool
    refuses_encryption: bool
    tls_ca_file: str | None
    tls_ciphers: str | None
    tls_min_version: int
    tls_max_version: int | None

    def __init__(self, require_encryption: bool | None = None, **kwargs: Any) -> None:
        unknown = sorted(set(kwargs) - set(_ATTRIBUTES))
        if unknown:
            raise TypeError(
                f"Security has no argument {', '.join(map(repr, unknown))}; its arguments are require_encryption, "
                f"{', '.join(_ATTRIBUTES)}"
            )
        if require_encryption is not None and not isinstance(require_encryption, bool):
            raise TypeError(f"require_encryption must be True, False or None, not {require_encryption!r}")
        said: Any = config.get("distributed.comm.require-encryption") if require_encryption is None else None
        if require_encryption is None and said is not None:
            require_encryption = bool(said)
        self.refuses_encryption = require_encryption is False
        self.require_encryption = bool(kwargs) if require_encryption is None else require_encryption
        self.extra_conn_args = dict(kwargs.get("extra_conn_args") or {})
        for name, key in _KEYS.items():
            given = kwargs.get(name)
            value: Any = config.get(f"distributed.comm.tls.{key}") if given is None else given
            if name in _VERSIONS:
                value = _version(name, value)
            elif value is not None and not isinstance(value, str | os.PathLike):
                raise TypeError(f"{name} must be a path or PEM text, not {value!r}")
            elif isinstance(value, os.PathLike):
                value = os.fspath(value)
            setattr(self, name, value)
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}

    @classmethod
    def temporary(cls, **kwargs: Any) -> Security:
        """Return one with a new certificate that signs itself, for all roles; it is valid for a year.

        Parameters
        ----------
        **kwargs
            As of `Security`: ``tls_min_version``, …

        Raises
        ------
        ImportError
            The package cryptography is not installed.

        Examples
        --------
        >>> Security.temporary()
        Security(require_encryption=True, tls_ca_file=<PEM text>, tls_client_cert=<PEM text>, \
tls_client_key=<PEM text>, tls_scheduler_cert=<PEM text>, tls_scheduler_key=<PEM text>, tls_worker_cert=<PEM text>, \
tls_worker_key=<PEM text>)
        """
        cert, key = _self_signed()
        material = {name: key if name.endswith("_key") else cert for name in _MATERIAL}
        return cls(**{"require_encryption": True, **material, **kwargs})

    # ------------------------------------------------------------ what it says

    def __repr__(self) -> str:
        parts = [f"require_encryption={self.require_encryption}"]
        parts += [f"{name}={shown}" for name, shown in self._settings().items()]
        return f"Security({', '.join(parts)})"

    def _repr_html_(self) -> str:
        from windrow import looks

        return looks.card("Security", "", {"require_encryption": self.require_encryption, **self._settings()})

    def _settings(self) -> dict[str, str]:
        """Return what is set, as it may be shown."""
        given = {name: getattr(self, name) for name in _KEYS}
        usual = {"tls_min_version": _NUMBERS["1.2"]}
        return {
            name: _shown(name, value) for name, value in given.items() if value is not None and value != usual.get(name)
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Security) and self.to_record() == other.to_record()

    def __hash__(self) -> int:
        return hash((self.tls_ca_file, self.require_encryption))

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_record, (self.to_record(), self.extra_conn_args)

    @property
    def encrypts(self) -> bool:
        """Whether there is an authority, and a certificate for some role."""
        return self.tls_ca_file is not None and any(getattr(self, f"tls_{role}_cert") is not None for role in ROLES)

    def get_tls_config_for_role(self, role: str) -> dict[str, str | None]:
        """Return a role's ``ca_file``, ``ciphers``, ``cert`` and ``key``; each a path or PEM text, or None.

        Examples
        --------
        >>> Security(tls_ca_file="ca.pem", tls_worker_cert="w.pem").get_tls_config_for_role("worker")
        {'ca_file': 'ca.pem', 'ciphers': None, 'cert': 'w.pem', 'key': None}
        """
        _check_role(role)
        return {
            "ca_file": self.tls_ca_file,
            "ciphers": self.tls_ciphers,
            "cert": getattr(self, f"tls_{role}_cert"),
            "key": getattr(self, f"tls_{role}_key"),
        }

    def get_connection_args(self, role: str) -> dict[str, Any]:
        """Return ``ssl_context`` (None without certificates), ``require_encryption``, ``extra_conn_args``."""
        return {
            "ssl_context": self._context_or_none(role, server=False),
            "require_encryption": self.require_encryption,
            "extra_conn_args": self.extra_conn_args,
        }

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """Return ``ssl_context`` (None without certificates) and ``require_encryption``, for a listener."""
        return {
            "ssl_context": self._context_or_none(role, server=True),
            "require_encryption": self.require_encryption,
        }

    # ------------------------------------------------------------ contexts

    def context(self, role: str, *, server: bool) -> ssl.SSLContext:
        """Return the context for one side of a connection.

        Raises
        ------
        WrongCertificate
            There is no authority or no certificate for this role, or they cannot be used; the message says which.
        """
        _check_role(role)
        found = self._contexts.get((role, server))
        if found is not None:
            return found
        if self._context_or_none(role, server=server) is None:
            missing = f"tls_{role}_cert" if self.tls_ca_file is not None else "tls_ca_file"
            raise WrongCertificate(
                f"{self!r} has no {missing}, which a {role} needs for tls://: give it, or configure "
                f"'distributed.comm.tls.{_KEYS[missing]}'"
            )
        return self._contexts[role, server]

    def check_files(self, role: str) -> None:
        """Refuse paths of a role that lead nowhere, or are not for this process to read.

        Raises
        ------
        WrongCertificate
            The message names the first.

        Examples
        --------
        >>> Security(tls_ca_file="/no/such/file").check_files("client")
        Traceback (most recent call last):
        windrow.errors.WrongCertificate: tls_ca_file='/no/such/file' cannot be read: No such file or directory
        """
        _check_role(role)
        for name in ("tls_ca_file", f"tls_{role}_cert", f"tls_{role}_key"):
            path = getattr(self, name)
            if path is None or _is_pem(path):
                continue
            try:
                with open(os.path.expanduser(path), "rb"):
                    pass
            except OSError as error:
                raise WrongCertificate(f"{name}={path!r} cannot be read: {error.strerror or error}") from error

    def _context_or_none(self, role: str, *, server: bool) -> ssl.SSLContext | None:
        wanted = self.get_tls_config_for_role(role)
        if wanted["ca_file"] is None or wanted["cert"] is None:
            return None
        if (role, server) not in self._contexts:
            self._contexts[role, server] = self._make_context(role, server)
        return self._contexts[role, server]

    def _make_context(self, role: str, server: bool) -> ssl.SSLContext:
        import ssl

        self.check_files(role)
        wanted = self.get_tls_config_for_role(role)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion(self.tls_min_version)
        if self.tls_max_version is not None:
            context.maximum_version = ssl.TLSVersion(self.tls_max_version)
        try:
            ca = str(wanted["ca_file"])
            given = {"cadata": ca} if _is_pem(ca) else {"cafile": os.path.expanduser(ca)}
            context.load_verify_locations(**given)
            if wanted["ciphers"]:
                context.set_ciphers(wanted["ciphers"])
            _load_chain(context, str(wanted["cert"]), wanted["key"])
        except (OSError, ValueError) as error:  # SSLError is the first
            raise WrongCertificate(
                f"the certificates for a {role} in {self!r} cannot be used: {error}. Check that the files are there, "
                "in PEM form, and that key and certificate belong together"
            ) from error
        return context

    # ------------------------------------------------------------ as plain data

    def to_record(self, *, private: bool = True) -> dict[str, Any]:
        """Return it as plain data, whose paths hold in other directories too.

        Parameters
        ----------
        private
            Whether keys in PEM text, and their certificates, are in it; paths of files are in any case.

        Examples
        --------
        >>> Security.from_record(Security(require_encryption=True).to_record()).require_encryption
        True
        """
        record: dict[str, Any] = {"require_encryption": self.require_encryption, "refuses": self.refuses_encryption}
        for name in _KEYS:
            value = getattr(self, name)
            if name in _MATERIAL and value is not None and not _is_pem(value):
                value = os.path.abspath(os.path.expanduser(value))
            if value is not None:
                record[name] = value
        for role in () if private else ROLES:
            if any(_has_key(record.get(f"tls_{role}_{what}")) for what in ("cert", "key")):
                record.pop(f"tls_{role}_cert", None)
                record.pop(f"tls_{role}_key", None)
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Security:
        """Return what `to_record` has described."""
        return _from_record(record)

    @property
    def is_shared(self) -> bool:
        """Whether all roles have one key, as temporary certificates do: then it is the cluster's, as its secret is."""
        keys = {getattr(self, f"tls_{role}_key") for role in ROLES}
        return len(keys) == 1 and _has_key(next(iter(keys)))


def checked(what: str, value: object) -> Security | None:
    """Return what a parameter ``security=`` stands for; None where nobody says anything.

    True is `Security.temporary`; False refuses encryption; None is what is configured, if anything is.

    Examples
    --------
    >>> checked("Worker", None) is None, checked("Worker", False)
    (True, Security(require_encryption=False))
    """
    if isinstance(value, Security):
        return value
    if value is None:
        found = Security() if any(config.get(key) is not None for key in _CONFIGURED) else None
        return found
    if isinstance(value, bool):
        return Security.temporary() if value else Security(require_encryption=False)
    if isinstance(value, dict) and "require_encryption" in value:  # from a process elsewhere
        return Security.from_record(value)
    raise TypeError(f"{what}(security=…) must be a Security, True, False or None, not {type(value).__name__}")


_CONFIGURED = (
    "distributed.comm.require-encryption",
    *(f"distributed.comm.tls.{_KEYS[name]}" for name in _MATERIAL),
)


def with_certificates(security: Security | None) -> Security:
    """Return what has certificates: this, or one with temporary ones in its place, and all else as it is here.

    Raises
    ------
    WrongCertificate
        There is a part of what certificates take: who has given that does not want others.

    Examples
    --------
    >>> with_certificates(None).encrypts
    True
    >>> with_certificates(Security(tls_ciphers="ECDHE+AESGCM")).tls_ciphers
    'ECDHE+AESGCM'
    """
    if security is None:
        return Security.temporary()
    if security.encrypts:
        return security
    if given := [name for name in _MATERIAL if getattr(security, name) is not None]:
        lacks = "certificate (tls_scheduler_cert, tls_worker_cert, tls_client_cert)"
        raise WrongCertificate(
            f"there is {', '.join(given)}, and no {lacks if security.tls_ca_file is not None else 'tls_ca_file'}: give "
            "both, or neither, and certificates are made for the occasion. They are arguments of Security, or "
            "configured (distributed.comm.tls.*)"
        )
    settings = {name: getattr(security, name) for name in ("tls_ciphers", *_VERSIONS, "extra_conn_args")}
    return Security.temporary(**settings)


def chosen_scheme(scheme: str, host: str, security: Security | None, *, said: bool) -> str:
    """Return the scheme to listen with: ``tls`` where encryption is required, or other machines can come.

    Parameters
    ----------
    scheme
        What is asked for, or would be chosen otherwise.
    host
        Where to listen; "" is everywhere.
    security
        What is known of encryption.
    said
        Whether ``scheme`` was asked for.

    Raises
    ------
    RuntimeError
        ``tcp`` is asked for where encryption is required, or other machines can come and nobody has refused it.

    Examples
    --------
    >>> chosen_scheme("tcp", "127.0.0.1", None, said=False), chosen_scheme("tcp", "0.0.0.0", None, said=False)
    ('tcp', 'tls')
    """
    if scheme != "tcp":
        return scheme
    requires = security is not None and security.require_encryption
    if said and requires:
        raise RuntimeError(f"encryption is required ({security!r}), and tcp:// has none: use tls://")
    if requires:
        return "tls"
    if is_loopback(host or "0.0.0.0") or (security is not None and security.refuses_encryption):
        return "tcp"
    if said:
        raise RuntimeError(
            f"tcp://{host or '0.0.0.0'} would let other machines reach this process unencrypted: use tls://, or say "
            "that you want it so, by security=Security(require_encryption=False) or --insecure"
        )
    return "tls"


# ---------------------------------------------------------------- parts


def _from_record(record: dict[str, Any], extra: dict[str, Any] | None = None) -> Security:
    given = {name: value for name, value in record.items() if name in _KEYS}
    found = Security(require_encryption=bool(record.get("require_encryption")), **given)
    found.refuses_encryption = bool(record.get("refuses"))
    found.extra_conn_args = dict(extra or {})
    return found


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ValueError(f"there is no role {role!r}; there are {', '.join(ROLES)}")


def _is_pem(value: str) -> bool:
    return "\n" in value


def _has_key(value: object) -> bool:
    return isinstance(value, str) and _is_pem(value) and "PRIVATE KEY" in value


def _shown(name: str, value: object) -> str:
    if isinstance(value, str):
        return "<PEM text>" if _is_pem(value) else repr(value)
    return next(text for text, number in _NUMBERS.items() if number == value)


def _version(name: str, value: object) -> int | None:
    if value is None:
        return _NUMBERS["1.2"] if name == "tls_min_version" else None
    if isinstance(value, int) and int(value) in _NUMBERS.values():
        return int(value)
    number = _NUMBERS.get(str(value))
    if number is None or isinstance(value, bool):
        raise ValueError(f"{name} must be ssl.TLSVersion.TLSv1_2 or TLSv1_3 (1.2 or 1.3 if configured), not {value!r}")
    return number


def _load_chain(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Load a certificate and its key; OpenSSL takes them from files alone."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="windrow-") as directory:  # 0700, for a moment
        paths: list[str | None] = []
        for number, value in enumerate((cert, key)):
            if value is not None and _is_pem(value):
                path = os.path.join(directory, f"{number}.pem")
                with open(path, "w", encoding="ascii") as file:
                    file.write(value)
                value = path
            paths.append(None if value is None else os.path.expanduser(value))
        context.load_cert_chain(str(paths[0]), paths[1])


def _self_signed() -> tuple[str, str]:
    """Return a new certificate and its key, as PEM text."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise ImportError(
            "temporary certificates need the package cryptography: pip install 'windrow[tls]'. Or give certificates of "
            "your own, with Security(tls_ca_file=…), or do without encryption, with Security(require_encryption=False)"
        ) from error
    from datetime import datetime, timedelta

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "windrow cluster")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()
