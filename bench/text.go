package main

import (
	"math/rand/v2"
	"sort"
)

// A writer of content that compresses as prose and source do: words of a
// language that does not exist, few of them often and most of them rarely, as
// Zipf has it. zstd leaves about a third.
type prose struct {
	random *rand.Rand
	words  [][]byte
	often  [1 << 16]uint16 // places in words, each as often as the word is
	left   int             // words until the line ends
}

const vocabulary = 30_000

func newProse(random *rand.Rand) *prose {
	p := &prose{random: random}
	const letters = "eeeeeeeeeeeettttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddlllluuucccmmmwwffggyyppbbvk"
	for range vocabulary {
		word := make([]byte, 2+random.IntN(5)+random.IntN(6))
		for i := range word {
			word[i] = letters[random.IntN(len(letters))]
		}
		p.words = append(p.words, word)
	}
	sums := make([]float64, vocabulary)
	sum := 0.0
	for i := range sums {
		sum += 1 / (float64(i) + 2.7)
		sums[i] = sum
	}
	for i := range p.often {
		p.often[i] = uint16(sort.SearchFloat64s(sums, sum*(float64(i)+0.5)/float64(len(p.often))))
	}
	return p
}

// fill fills buffer.
func (p *prose) fill(buffer []byte) {
	for len(buffer) > 0 {
		r := p.random.Uint64()
		n := copy(buffer, p.words[p.often[r&0xffff]])
		buffer = buffer[n:]
		if len(buffer) == 0 {
			return
		}
		if p.left--; p.left < 0 {
			p.left = int(r>>16) & 15
			buffer[0] = '\n'
		} else if r>>60 == 0 {
			buffer[0] = ','
		} else {
			buffer[0] = ' '
		}
		buffer = buffer[1:]
	}
}
