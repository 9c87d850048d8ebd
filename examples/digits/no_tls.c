/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debian's libmicrohttpd.a is built with TLS and refers to GnuTLS, which cannot be linked
 * statically there (libunistring.a and libp11-kit.a do not exist). This server speaks plain HTTP,
 * so none of that is ever reached apart from the global start and end: these stand-ins satisfy
 * the linker and abort if the assumption is ever wrong. The result is one file with no libraries,
 * all that the container image needs to hold.
 *
 * The real prototypes are left out on purpose; nothing here looks at its arguments.
 */
#include <stddef.h>
#include <stdlib.h>

#define DONE(name)                                                                                 \
    int name(void);                                                                                \
    int name(void) { return 0; }

#define NEVER(name)                                                                                \
    _Noreturn void name(void);                                                                     \
    _Noreturn void name(void) { abort(); }

extern void *(*gnutls_malloc)(size_t size);
void *(*gnutls_malloc)(size_t size) = malloc;

DONE(gnutls_global_init)
DONE(gnutls_global_deinit)
NEVER(gnutls_alpn_set_protocols)
NEVER(gnutls_bye)
NEVER(gnutls_certificate_allocate_credentials)
NEVER(gnutls_certificate_free_credentials)
NEVER(gnutls_certificate_server_set_request)
NEVER(gnutls_certificate_set_dh_params)
NEVER(gnutls_certificate_set_retrieve_function2)
NEVER(gnutls_certificate_set_retrieve_function3)
NEVER(gnutls_certificate_set_x509_key_mem)
NEVER(gnutls_certificate_set_x509_key_mem2)
NEVER(gnutls_certificate_set_x509_trust_mem)
NEVER(gnutls_cipher_get)
NEVER(gnutls_credentials_set)
NEVER(gnutls_deinit)
NEVER(gnutls_dh_params_deinit)
NEVER(gnutls_dh_params_import_pkcs3)
NEVER(gnutls_dh_params_init)
NEVER(gnutls_handshake)
NEVER(gnutls_init)
NEVER(gnutls_priority_deinit)
NEVER(gnutls_priority_init)
NEVER(gnutls_priority_set)
NEVER(gnutls_protocol_get_version)
NEVER(gnutls_psk_allocate_server_credentials)
NEVER(gnutls_psk_free_server_credentials)
NEVER(gnutls_psk_set_server_credentials_function)
NEVER(gnutls_record_check_pending)
NEVER(gnutls_record_get_direction)
NEVER(gnutls_record_recv)
NEVER(gnutls_record_send)
NEVER(gnutls_session_get_ptr)
NEVER(gnutls_session_set_ptr)
NEVER(gnutls_strerror)
NEVER(gnutls_transport_set_int2)
