#include "transport/tls/record_bio.h"

#include <algorithm>
#include <cstring>

namespace mailrace::transport::tls {
namespace {

RecordBuffers* Buffers(BIO* bio) { return static_cast<RecordBuffers*>(BIO_get_data(bio)); }

int ReadRecords(BIO* bio, char* out, size_t octets, size_t* read) {
  BIO_clear_retry_flags(bio);
  Buffer& received = Buffers(bio)->received;
  if (received.empty()) {
    BIO_set_retry_read(bio);
    return 0;
  }
  *read = std::min(octets, received.size());
  std::memcpy(out, received.view().data(), *read);
  received.Consume(*read);
  return 1;
}

int WriteRecords(BIO* bio, const char* octets, size_t size, size_t* written) {
  BIO_clear_retry_flags(bio);
  Buffers(bio)->to_send.Append({octets, size});
  *written = size;
  return 1;
}

long Control(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  switch (command) {
    case BIO_CTRL_FLUSH:
      return 1;  // The caller takes the records when it likes.
    case BIO_CTRL_PENDING:
      return static_cast<long>(Buffers(bio)->received.size());
    default:
      return 0;
  }
}

BIO_METHOD* MakeMethod() {
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "records");
  if (method == nullptr) return nullptr;
  BIO_meth_set_read_ex(method, ReadRecords);
  BIO_meth_set_write_ex(method, WriteRecords);
  BIO_meth_set_ctrl(method, Control);
  return method;
}

}  // namespace

BioPtr MakeRecordBio(RecordBuffers* buffers) {
  // Immutable once made; shared by all threads, for the life of the process.
  static const BIO_METHOD* const kMethod = MakeMethod();
  BioPtr bio(kMethod == nullptr ? nullptr : BIO_new(kMethod));
  if (bio != nullptr) {
    BIO_set_data(bio.get(), buffers);
    BIO_set_init(bio.get(), 1);
  }
  return bio;
}

}  // namespace mailrace::transport::tls
