// The engine's two ends for OpenSSL: a BIO that reads from one Buffer and writes to
// another. Unlike the library's memory BIO it copies each record once and gives its
// memory back.
#pragma once

#include "base/buffer.h"
#include "transport/tls/openssl.h"

namespace mailrace::transport::tls {

struct RecordBuffers {
  Buffer received;  // From the peer, not yet read by the library.
  Buffer to_send;   // Written by the library, not yet taken.
};

// `buffers` is borrowed and outlives the BIO.
BioPtr MakeRecordBio(RecordBuffers* buffers);

}  // namespace mailrace::transport::tls
