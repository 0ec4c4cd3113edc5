using System;
using System.Collections;
using System.Collections.Specialized;
using System.Globalization;

namespace SecretBridge;

/// <summary>A secret's metadata: texts, whole numbers and dates.</summary>
public static class Metadata
{
    /// <summary>As tagged plain objects; other types than the three go as text.</summary>
    public static OrderedDictionary Tag(IEnumerable? metadata)
    {
        OrderedDictionary plain = PlainJson.NewObject();
        foreach (object? item in metadata ?? Array.Empty<object>())
        {
            (object? name, object? found) = Entry(item);
            plain[Values.Checked(PlainJson.Text(name))] = PlainJson.Bare(found) switch
            {
                DateTime date => Values.Tagged("date", date.ToString("o", CultureInfo.InvariantCulture)),
                DateTimeOffset date => Values.Tagged("date", date.ToString("o", CultureInfo.InvariantCulture)),
                int number => Values.Tagged("int", (long)number),
                long number => Values.Tagged("int", number),
                object value => Values.Tagged("string", Values.Checked(PlainJson.Text(value))),
                null => Values.Tagged("string", ""),
            };
        }
        return plain;
    }

    /// <summary>A table of a vault's own as one to send.</summary>
    public static Hashtable Copy(IEnumerable metadata)
    {
        Hashtable copy = Values.NewTable();
        foreach (object? item in metadata)
        {
            (object? name, object? found) = Entry(item);
            copy[PlainJson.Text(name)] = found;
        }
        return copy;
    }

    /// <summary>What the tagged ones stand for.</summary>
    public static Hashtable Untag(IDictionary plain)
    {
        Hashtable metadata = Values.NewTable();
        foreach (DictionaryEntry entry in plain)
        {
            metadata[entry.Key] = UntagOne(entry);
        }
        return metadata;
    }

    private static object? UntagOne(DictionaryEntry entry)
    {
        IDictionary tagged = PlainJson.Bare(entry.Value) as IDictionary ?? throw new BridgeException("BadCall", $"the metadata '{entry.Key}' has no type");
        object? value = PlainJson.Bare(tagged["v"]);
        switch (PlainJson.Bare(tagged["t"]) as string)
        {
            case "string":
                return value as string ?? throw new BridgeException("BadCall", "a value does not fit its tag");
            // What does not fit an int stays a long, for the vault to judge.
            case "int":
                return value;
            case "date":
                return DateTime.TryParse(value as string, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind, out DateTime date)
                    ? date
                    : throw new BridgeException("BadCall", $"the metadata '{entry.Key}' is no date");
            default:
                throw new BridgeException("BadCall", $"there is no metadata type '{tagged["t"]}'");
        }
    }

    // Tables of any kind: those of before generics, and ReadOnlyDictionary.
    private static (object? Name, object? Value) Entry(object? item) => item switch
    {
        DictionaryEntry entry => (entry.Key, entry.Value),
        System.Collections.Generic.KeyValuePair<string, object> pair => (pair.Key, pair.Value),
        _ => throw new BridgeException("ValueTypeNotSupported", "the metadata is no table"),
    };
}
