package local

// What tests of this package need of it. They are in another one, because they
// use simdisk, which is built on it.
const (
	TempPrefix  = tempPrefix
	StrayAge    = strayAge
	ContentType = contentType
	FileMode    = fileMode
	DirMode     = dirMode
	MaxWalks    = maxWalks
)

var (
	EncodeElement = encodeElement
	DecodeElement = decodeElement
)

func OpenOS(path string) (FS, error) { return openOS(path) }

// Walks returns how many listings b keeps the position of.
func Walks(b *Bucket) int { return len(b.walks) }
