"""What the clients of the tests trust: nothing, since no gateway of theirs speaks TLS.

A context of httpx's own reads all authorities of the world: 65 ms of each client.
"""

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
