// A disk that the tests rule over, put under an unchanged program by LD_PRELOAD.
//
// Writes go to the real files at once, so that the program sees them; what a real disk
// would not yet hold is only written down. From that journal tests/torture/power_cut.py
// rebuilds what a power cut leaves: octets behind the last sync of their file are gone,
// those written over since are what they were, and names whose directory was not synced are
// gone too. This covers everything that the program and its libraries do through the C
// library, not RocksDB alone.
//
//   TORTURE_DISK_ROOT     the directory whose files are watched; nothing else is touched
//   TORTURE_DISK_JOURNAL  one line an operation (see below); on any file system
//   TORTURE_DISK_GRAVE    a hard link to each file, named by its inode: nothing that is
//                         removed or replaced is lost, and no inode number is used twice;
//                         in "overwritten" the octets that were written over, one after the
//                         other. On the file system of the root
//   TORTURE_DISK_KILL=N   SIGKILL instead of the N-th journalled operation
//   TORTURE_DISK_EIO=N    the N-th sync of a *.log fails with EIO, once
//   TORTURE_DISK_SLOW=MS  every sync of a file takes so many milliseconds
//   TORTURE_DISK_BOOT     a file that stands for /proc/sys/kernel/random/boot_id: after a
//                         power cut the machine was started anew. Works without a root
//
// journal := *( "create" inode path / "mkdir" path / "rename" from to / "link" from to
//             / "unlink" path / "sync" inode octets / "dirsync" path / "map" inode
//             / "over" inode offset octets place / "syncall" )
//                                  each ended by LF; paths relative to the root
//
// "sync": the file has so many octets, and those written over before stay. "over": what was
// at this offset is at `place` in "overwritten"; the line stands before the write is done, and
// octets that the file did not have yet are none of it.
//
// A sync costs nothing here: it is journalled, not done. SIGKILL leaves the journal whole,
// since it is written by one write(2) before the call returns.
//
// Not seen: io_uring, stdio, writes through a mapping (the file is journalled as "map"), a file
// that is made shorter or gets holes (nobody does so to what matters: the one ftruncate of the
// engine is of its lock file, RocksDB's cut off what was allocated behind the end).
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <mutex>
#include <string>

namespace {

template <typename Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

class Disk {
 public:
  // Never destroyed: other threads write until the process is gone.
  static Disk& Get() {
    static Disk* const disk = new Disk();
    return *disk;
  }

  bool on() const { return journal_ >= 0; }
  std::recursive_mutex& mutex() { return mutex_; }

  // The path below the root, or empty: not ours.
  std::string Relative(const char* path) const {
    if (!on() || path == nullptr) return "";
    std::string absolute = path;
    if (path[0] != '/') {
      char directory[4096];
      if (getcwd(directory, sizeof(directory)) == nullptr) return "";
      absolute = std::string(directory) + "/" + path;
    }
    for (size_t at; (at = absolute.find("//")) != absolute.npos;) absolute.erase(at, 1);
    while (absolute.ends_with('/')) absolute.pop_back();
    if (absolute == root_) return ".";
    if (!absolute.starts_with(root_ + "/")) return "";
    return absolute.substr(root_.size() + 1);
  }

  std::string RelativeOf(int fd) const {
    char path[4096];
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t size = readlink(link.c_str(), path, sizeof(path) - 1);
    if (size <= 0) return "";
    path[size] = '\0';
    return Relative(path);
  }

  // Before the operation: this may be where the machine dies.
  void Count() {
    if (kill_at_ != 0 && ++operations_ == kill_at_) {
      kill(getpid(), SIGKILL);
      pause();
    }
  }

  void Write(const std::string& line) const {
    const std::string text = line + "\n";
    if (syscall(SYS_write, journal_, text.data(), text.size()) !=
        static_cast<ssize_t>(text.size())) {
      Abort("disk_shim: the journal cannot be written\n");
    }
  }

  void Created(int fd, const char* path, const std::string& relative) {
    struct stat status;
    if (fstat(fd, &status) != 0) return;
    Keep(path, status.st_ino);
    Write("create " + std::to_string(status.st_ino) + " " + relative);
  }

  // -1 with errno set if it is to fail.
  int Sync(int fd) {
    const std::string relative = RelativeOf(fd);
    struct stat status;
    if (relative.empty() || fstat(fd, &status) != 0) return 0;
    const std::lock_guard lock(mutex_);
    Count();
    if (S_ISDIR(status.st_mode)) {
      Write("dirsync " + relative);
      return 0;
    }
    if (slow_milliseconds_ > 0) {
      const timespec wait{slow_milliseconds_ / 1000, slow_milliseconds_ % 1000 * 1'000'000};
      nanosleep(&wait, nullptr);
    }
    if (eio_at_ != 0 && relative.ends_with(".log") && ++log_syncs_ == eio_at_) {
      errno = EIO;
      return -1;
    }
    Write("sync " + std::to_string(status.st_ino) + " " + std::to_string(status.st_size));
    return 0;
  }

  // All files, those that lost their names too.
  void SyncAll() {
    const std::lock_guard lock(mutex_);
    Count();
    DIR* const grave = opendir(grave_.c_str());
    while (const dirent* entry = grave == nullptr ? nullptr : readdir(grave)) {
      struct stat status;
      if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name)) continue;
      if (fstatat(dirfd(grave), entry->d_name, &status, 0) != 0) continue;
      Write(std::string("sync ") + entry->d_name + " " + std::to_string(status.st_size));
    }
    if (grave != nullptr) closedir(grave);
    Write("syncall");
  }

  // Does `write`, of `octets` to this offset (negative: where the file stands), and keeps what
  // it writes over.
  template <typename WriteFunction>
  ssize_t WriteTo(int fd, off_t offset, size_t octets, WriteFunction write) {
    if (Overwritten(fd, offset, octets).octets == 0) return write();
    if (RelativeOf(fd).empty()) return write();
    // Until it is written, so that neither a sync nor another write comes between.
    const std::lock_guard lock(mutex_);
    const Range range = Overwritten(fd, offset, octets);
    if (range.octets > 0) {
      Count();
      const off_t place = Bury(fd, range);
      Write("over " + std::to_string(range.inode) + " " + std::to_string(range.offset) + " " +
            std::to_string(range.octets) + " " + std::to_string(place));
    }
    return write();
  }

  void Keep(const char* path, ino_t inode) const {
    const std::string kept = grave_ + "/" + std::to_string(inode);
    Real<int(const char*, const char*)>("link")(path, kept.c_str());
  }

 private:
  Disk() {
    const char* root = getenv("TORTURE_DISK_ROOT");
    const char* journal = getenv("TORTURE_DISK_JOURNAL");
    const char* grave = getenv("TORTURE_DISK_GRAVE");
    if (root == nullptr || journal == nullptr || grave == nullptr) return;
    root_ = root;
    grave_ = grave;
    kill_at_ = Number("TORTURE_DISK_KILL");
    eio_at_ = Number("TORTURE_DISK_EIO");
    slow_milliseconds_ = Number("TORTURE_DISK_SLOW");
    journal_ = static_cast<int>(
        syscall(SYS_openat, AT_FDCWD, journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  }

  // Of a file, what is there before it is written over.
  struct Range {
    ino_t inode = 0;
    off_t offset = 0;
    size_t octets = 0;
  };

  Range Overwritten(int fd, off_t offset, size_t octets) const {
    const int saved = errno;
    Range range;
    struct stat status;
    if (on() && octets > 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
        // With O_APPEND even pwrite appends.
        (fcntl(fd, F_GETFL) & O_APPEND) == 0) {
      if (offset < 0) offset = lseek(fd, 0, SEEK_CUR);
      if (offset >= 0 && offset < status.st_size) {
        const auto there = static_cast<size_t>(status.st_size - offset);
        range = {status.st_ino, offset, octets < there ? octets : there};
      }
    }
    errno = saved;
    return range;
  }

  // Where in the graveyard's "overwritten" these octets of the file now are.
  off_t Bury(int fd, const Range& range) {
    if (overwritten_ < 0) {
      overwritten_ = Open(grave_ + "/overwritten", O_WRONLY | O_APPEND | O_CREAT);
    }
    // By a descriptor of our own: that of the program may not be for reading, or want aligned
    // memory (O_DIRECT).
    const int from = Open("/proc/self/fd/" + std::to_string(fd), O_RDONLY);
    char piece[1 << 16];
    for (size_t done = 0; done < range.octets;) {
      const size_t left = range.octets - done;
      const ssize_t got = syscall(SYS_pread64, from, piece,
                                  left < sizeof(piece) ? left : sizeof(piece), range.offset + done);
      if (got <= 0 || syscall(SYS_write, overwritten_, piece, got) != got) {
        Abort("disk_shim: what is written over cannot be kept\n");
      }
      done += got;
    }
    syscall(SYS_close, from);
    return lseek(overwritten_, 0, SEEK_CUR) - static_cast<off_t>(range.octets);
  }

  static int Open(const std::string& path, int flags) {
    const auto fd =
        static_cast<int>(syscall(SYS_openat, AT_FDCWD, path.c_str(), flags | O_CLOEXEC, 0600));
    if (fd < 0) Abort("disk_shim: what is written over cannot be kept\n");
    return fd;
  }

  [[noreturn]] static void Abort(const char* text) {
    syscall(SYS_write, 2, text, strlen(text));
    abort();
  }

  static long Number(const char* name) {
    const char* text = getenv(name);
    return text == nullptr ? 0 : atol(text);
  }

  std::recursive_mutex mutex_;
  std::string root_;
  std::string grave_;
  int journal_ = -1;
  int overwritten_ = -1;
  long operations_ = 0;
  long kill_at_ = 0;  // 0: never; the others too.
  long log_syncs_ = 0;
  long eio_at_ = 0;
  long slow_milliseconds_ = 0;
};

const char* Redirected(const char* path) {
  static const char* const boot = getenv("TORTURE_DISK_BOOT");
  if (boot != nullptr && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) return boot;
  return path;
}

int OpenAt(int directory, const char* path, int flags, mode_t mode) {
  using OpenAtFunction = int(int, const char*, int, ...);
  static auto* const real = Real<OpenAtFunction>("openat");
  path = Redirected(path);
  Disk& disk = Disk::Get();
  std::string relative;
  if ((flags & O_CREAT) != 0 && (directory == AT_FDCWD || path[0] == '/')) {
    relative = disk.Relative(path);
  }
  if (relative.empty()) return real(directory, path, flags, mode);
  const std::lock_guard lock(disk.mutex());
  struct stat status;
  bool exists = lstat(path, &status) == 0;
  if (exists && (flags & O_TRUNC) != 0 && (flags & O_EXCL) == 0) {
    // The old octets must be able to come back: a new inode takes the name.
    disk.Count();
    Real<int(const char*)>("unlink")(path);
    disk.Write("unlink " + relative);
    exists = false;
  }
  if (exists) return real(directory, path, flags, mode);
  disk.Count();
  const int fd = real(directory, path, flags, mode);
  if (fd >= 0) disk.Created(fd, path, relative);
  return fd;
}

mode_t ModeOf(int flags, va_list arguments) {
  return (flags & O_CREAT) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

size_t OctetsOf(const iovec* pieces, int count) {
  size_t octets = 0;
  for (int i = 0; i < count; ++i) octets += pieces[i].iov_len;
  return octets;
}

// Does `change` and journals `line` if it succeeded.
template <typename Change>
int Journalled(const std::string& line, Change change) {
  Disk& disk = Disk::Get();
  const std::lock_guard lock(disk.mutex());
  disk.Count();
  const int result = change();
  if (result == 0) disk.Write(line);
  return result;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return OpenAt(AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return OpenAt(AT_FDCWD, path, flags, mode);
}

int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return OpenAt(directory, path, flags, mode);
}

FILE* fopen(const char* path, const char* mode) {
  return Real<FILE*(const char*, const char*)>("fopen")(Redirected(path), mode);
}

FILE* fopen64(const char* path, const char* mode) {
  return Real<FILE*(const char*, const char*)>("fopen64")(Redirected(path), mode);
}

// By system calls, as the journal's: the C library itself may write before dlsym can be asked.
ssize_t write(int fd, const void* data, size_t octets) {
  return Disk::Get().WriteTo(fd, -1, octets, [&] { return syscall(SYS_write, fd, data, octets); });
}

ssize_t pwrite(int fd, const void* data, size_t octets, off_t offset) {
  const auto real = [&] { return syscall(SYS_pwrite64, fd, data, octets, offset); };
  return offset < 0 ? real() : Disk::Get().WriteTo(fd, offset, octets, real);
}

ssize_t pwrite64(int fd, const void* data, size_t octets, off64_t offset) {
  return pwrite(fd, data, octets, offset);
}

ssize_t writev(int fd, const iovec* pieces, int count) {
  return Disk::Get().WriteTo(fd, -1, OctetsOf(pieces, count),
                             [&] { return syscall(SYS_writev, fd, pieces, count); });
}

ssize_t pwritev2(int fd, const iovec* pieces, int count, off_t offset, int flags) {
  // The offset is two words; on 64-bit machines the second counts for nothing.
  const auto real = [&] { return syscall(SYS_pwritev2, fd, pieces, count, offset, 0L, flags); };
  if (offset < -1 || (flags & RWF_APPEND) != 0) return real();
  return Disk::Get().WriteTo(fd, offset, OctetsOf(pieces, count), real);
}

ssize_t pwritev64v2(int fd, const iovec* pieces, int count, off64_t offset, int flags) {
  return pwritev2(fd, pieces, count, offset, flags);
}

ssize_t pwritev(int fd, const iovec* pieces, int count, off_t offset) {
  if (offset >= 0) return pwritev2(fd, pieces, count, offset, 0);
  errno = EINVAL;
  return -1;
}

ssize_t pwritev64(int fd, const iovec* pieces, int count, off64_t offset) {
  return pwritev(fd, pieces, count, offset);
}

int fsync(int fd) { return Disk::Get().on() ? Disk::Get().Sync(fd) : Real<int(int)>("fsync")(fd); }

int fdatasync(int fd) {
  return Disk::Get().on() ? Disk::Get().Sync(fd) : Real<int(int)>("fdatasync")(fd);
}

// Writes pages but neither size nor metadata: no promise.
int sync_file_range(int, off64_t, off64_t, unsigned) { return 0; }

int syncfs(int fd) {
  if (!Disk::Get().on()) return Real<int(int)>("syncfs")(fd);
  Disk::Get().SyncAll();
  return 0;
}

int unlink(const char* path) {
  static auto* const real = Real<int(const char*)>("unlink");
  const std::string relative = Disk::Get().Relative(path);
  if (relative.empty()) return real(path);
  return Journalled("unlink " + relative, [&] { return real(path); });
}

int remove(const char* path) {
  struct stat status;
  if (lstat(path, &status) == 0 && S_ISDIR(status.st_mode)) return rmdir(path);
  return unlink(path);
}

int rename(const char* from, const char* to) {
  static auto* const real = Real<int(const char*, const char*)>("rename");
  Disk& disk = Disk::Get();
  const std::string relative_from = disk.Relative(from);
  const std::string relative_to = disk.Relative(to);
  if (relative_from.empty() || relative_to.empty()) return real(from, to);
  return Journalled("rename " + relative_from + " " + relative_to, [&] { return real(from, to); });
}

int link(const char* from, const char* to) {
  static auto* const real = Real<int(const char*, const char*)>("link");
  const std::string relative = Disk::Get().Relative(to);
  if (relative.empty()) return real(from, to);
  return Journalled("link " + Disk::Get().Relative(from) + " " + relative,
                    [&] { return real(from, to); });
}

int mkdir(const char* path, mode_t mode) {
  static auto* const real = Real<int(const char*, mode_t)>("mkdir");
  const std::string relative = Disk::Get().Relative(path);
  if (relative.empty()) return real(path, mode);
  return Journalled("mkdir " + relative, [&] { return real(path, mode); });
}

void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 && (flags & MAP_SHARED) != 0 && (protection & PROT_WRITE) != 0) {
    const Disk& disk = Disk::Get();
    struct stat status;
    if (disk.on() && !disk.RelativeOf(fd).empty() && fstat(fd, &status) == 0) {
      disk.Write("map " + std::to_string(status.st_ino));
    }
  }
  // Not by dlsym: it may itself map memory.
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, size, protection, flags, fd, offset));
}

void* mmap64(void* address, size_t size, int protection, int flags, int fd, off64_t offset) {
  return mmap(address, size, protection, flags, fd, offset);
}

}  // extern "C"
